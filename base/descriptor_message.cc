#include "base/descriptor_message.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace sallyport {
namespace {

/// A message of one piece, with room for FDS descriptors where there are any.
struct Header {
  Header(char* bytes, size_t size, size_t fds)
      : piece{.iov_base = bytes, .iov_len = size},
        control(fds > 0 ? CMSG_SPACE(fds * sizeof(int)) : 0) {
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (fds == 0) return;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  Header(const Header&) = delete;
  Header& operator=(const Header&) = delete;

  iovec piece;
  std::vector<char> control;  // From the heap, so aligned for a cmsghdr.
  msghdr message{};
};

/// The room is a multiple of the machine's word, so one more may come than there was asked for.
void TakeDescriptors(msghdr& message, std::vector<UniqueFd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Status SendMessage(int socket, std::string_view bytes, std::span<const int> fds) {
  Header header(const_cast<char*>(bytes.data()), bytes.size(), fds.size());
  if (!fds.empty()) {
    cmsghdr* rights = CMSG_FIRSTHDR(&header.message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &header.message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    return Fail(Code::kNotFound, "sending: the other side is gone");
  }
  if (sent < 0) return tl::unexpected(Error::FromErrno("sending"));
  if (static_cast<size_t>(sent) != bytes.size()) return Fail(Code::kSystem, "sending: cut off");
  return {};
}

Result<DescriptorMessage> ReceiveMessage(int socket, std::span<char> buffer, size_t most_fds) {
  Header header(buffer.data(), buffer.size(), most_fds);
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &header.message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  DescriptorMessage received;
  // A peer that is gone with something of ours unread shows as a reset.
  if (got < 0 && errno == ECONNRESET) return received;
  if (got < 0) return tl::unexpected(Error::FromErrno("receiving"));
  TakeDescriptors(header.message, received.fds);
  received.bytes = static_cast<size_t>(got);
  received.cut = (header.message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  return received;
}

}  // namespace sallyport
