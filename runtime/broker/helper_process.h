#pragma once

#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/broker/variables.h"

namespace sallyport::runtime {

/// Forks a child of the broker that keeps the user's rights: his id, files and network. It calls
/// SERVE with its end of a socket for packets and with the user's VARIABLES, and ends with what
/// that returns; it has no other descriptor but stderr. It gets no new privileges, leaves no core
/// and can't be traced. SERVE is to return when the other end of the socket, the result, is closed.
/// NAME is what `ps` shows. Call while single-threaded, before Confine().
Result<UniqueFd> StartHelper(const char* name, const Variables& variables,
                             const std::function<int(UniqueFd socket, Variables variables)>& serve);

}  // namespace sallyport::runtime
