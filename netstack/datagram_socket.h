#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/unique_fd.h"

namespace sallyport::netstack {

/// A connected datagram socket of the host's, which sends several datagrams by one system call
/// where the kernel can cut them apart again (UDP_SEGMENT, Linux 4.18), and takes several that the
/// kernel has put together (UDP_GRO, Linux 5.0).
class DatagramSocket {
 public:
  /// Datagrams that lie end to end: of `size` each, but for a smaller last one.
  struct Received {
    std::span<const uint8_t> bytes;
    size_t size = 0;  ///< Of one datagram; 0 for one without bytes.
  };

  explicit DatagramSocket(UniqueFd socket);

  int fd() const { return socket_.get(); }

  /// Reads what comes next into BUFFER, which has room for the largest packet. Nothing with errno set.
  std::optional<Received> Receive(std::span<uint8_t> buffer);

  /// How many of DATAGRAMS, which are not none, can leave together: all of one size, but for a
  /// smaller last one.
  size_t Together(std::span<const iovec> datagrams) const;

  /// Sends DATAGRAMS, as many as Together() said: all or none. False with errno set.
  bool Send(std::span<iovec> datagrams);

  /// Whether Send() failed with ERROR only because DATAGRAMS were to leave together: the route
  /// carries no datagram of this size uncut, or its device can't finish their checksums. Together()
  /// doesn't put such together again; these are to be sent one by one.
  bool CutFailed(std::span<const iovec> datagrams, int error);

 private:
  UniqueFd socket_;
  size_t most_ = 0;  // The largest datagrams that are sent together.
};

}  // namespace sallyport::netstack
