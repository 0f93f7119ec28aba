#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

/// Sends BYTES, at least one, as one message of the local socket SOCKET, with copies of FDS
/// (unix(7), SCM_RIGHTS). Part of BYTES is an error, as is a peer that is gone (kNotFound); no
/// signal is raised.
Status SendMessage(int socket, std::string_view bytes, std::span<const int> fds);

struct DescriptorMessage {
  size_t bytes = 0;            ///< 0: the peer is gone.
  bool cut = false;            ///< There was more, of bytes or descriptors; it is lost.
  std::vector<UniqueFd> fds;   ///< All that came, however many were expected; closed on exec.
};

/// Takes the next message of SOCKET, waiting as the socket does, into BUFFER and with room for
/// MOST_FDS descriptors.
Result<DescriptorMessage> ReceiveMessage(int socket, std::span<char> buffer, size_t most_fds);

}  // namespace sallyport
