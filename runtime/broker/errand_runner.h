#pragma once

#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"
#include "runtime/broker/errands.h"

namespace sallyport::runtime {

// One request is one packet: u8 kind, u16 number (little-endian), and for kReplaceFile the content.
// One answer is one packet: u8 0 and the value, or u8 1 and why there is none.
constexpr uint8_t kRunCommand = 0;
constexpr uint8_t kReadFile = 1;
constexpr uint8_t kReplaceFile = 2;
constexpr size_t kErrandHead = 3;
constexpr size_t kNoErrand = 0xffff;
constexpr size_t kMaxErrandAnswer = 1 + size_t{64} * 1024;

/// The life of the child that runs errands (errands.h): answers requests until the other end of
/// SOCKET is gone. VARIABLES are the commands' environment. Returns its exit status.
int ServeErrands(UniqueFd socket, const Errands::Declared& declared, Variables variables);

}  // namespace sallyport::runtime
