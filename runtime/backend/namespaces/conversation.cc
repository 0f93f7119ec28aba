#include "runtime/backend/namespaces/conversation.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sallyport::runtime {
namespace {

constexpr size_t kMaxText = 4096;  // A message with a long path or two.

Status WaitReadable(int socket, std::chrono::steady_clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{socket, POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready > 0) return {};
    if (ready == 0) return Fail(Code::kTimeout, "no answer in time");
    if (errno != EINTR) return tl::unexpected(Error::FromErrno("waiting"));
  }
}

void TakeFds(const msghdr& message, std::vector<UniqueFd>& out) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message), header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      out.emplace_back(fd);
    }
  }
}

}  // namespace

Status SendPacket(int socket, Packet::Kind kind, std::string_view text, std::span<const int> fds) {
  if (fds.size() > kMaxPacketFds) return Fail(Code::kLimit, "too many descriptors");
  std::string body(1, static_cast<char>(kind));
  body.append(text.substr(0, kMaxText - 1));
  iovec part{body.data(), body.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(fds.size_bytes()));
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    return tl::unexpected(Error::FromErrno("sending"));
  }
  return {};
}

Result<Packet> ReceivePacket(int socket, std::chrono::steady_clock::time_point deadline) {
  auto readable = WaitReadable(socket, deadline);
  if (!readable) return tl::unexpected(std::move(readable).error());
  char body[kMaxText];
  iovec part{body, sizeof body};
  std::vector<char> control(CMSG_SPACE(kMaxPacketFds * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  Packet packet;
  // A peer that is gone with something of ours unread shows as a reset.
  if (got == 0 || (got < 0 && errno == ECONNRESET)) return packet;
  if (got < 0) return tl::unexpected(Error::FromErrno("receiving"));
  TakeFds(message, packet.fds);
  packet.kind = static_cast<Packet::Kind>(body[0]);
  packet.text.assign(body + 1, static_cast<size_t>(got) - 1);
  return packet;
}

std::string EncodeError(const Error& error) {
  return std::string(1, static_cast<char>(error.code())) + error.message();
}

Error DecodeError(std::string_view text) {
  if (text.empty() || text[0] < 0 || text[0] > static_cast<char>(Code::kSystem)) {
    return Error(Code::kSystem, "the sandbox's first process failed");
  }
  return Error(static_cast<Code>(text[0]), std::string(text.substr(1)));
}

}  // namespace sallyport::runtime
