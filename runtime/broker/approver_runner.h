#pragma once

#include <chrono>

#include "base/secret_source.h"
#include "base/unique_fd.h"
#include "runtime/broker/variables.h"

namespace sallyport::runtime {

/// The life of Approver's child: runs COMMAND for each question (approver_packets.h), for at most
/// TIMEOUT, until the other end of SOCKET is gone; what still runs is then killed. VARIABLES are
/// the command's environment. Returns its exit status.
int ServeApprover(UniqueFd socket, const CommandSource& command, std::chrono::milliseconds timeout,
                  Variables variables);

}  // namespace sallyport::runtime
