#include "netstack/datagram_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace sallyport::netstack {
namespace {

// What the kernel cuts apart (UDP_MAX_SEGMENTS was 64 at first), and what a packet of either IP
// version holds.
constexpr size_t kMaxTogether = 64;
constexpr size_t kMaxBytes = 65'535 - 40 - 8;

// A socket that is none of UDP would send all as one datagram.
bool CanCut(int socket) {
  int size = 0;
  socklen_t length = sizeof size;
  return getsockopt(socket, SOL_UDP, UDP_SEGMENT, &size, &length) == 0;
}

// Where the kernel can't put datagrams together they come one by one.
void TakeTogether(int socket) {
  const int yes = 1;
  setsockopt(socket, SOL_UDP, UDP_GRO, &yes, sizeof yes);
}

// How large each of the datagrams is that MESSAGE holds together; nothing where it is a single one.
std::optional<size_t> SizeOfEach(msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_UDP || part->cmsg_type != UDP_GRO) continue;
    int size = 0;
    std::memcpy(&size, CMSG_DATA(part), sizeof size);
    if (size > 0) return static_cast<size_t>(size);
  }
  return std::nullopt;
}

}  // namespace

DatagramSocket::DatagramSocket(UniqueFd socket) : socket_(std::move(socket)) {
  if (!socket_.valid() || !CanCut(socket_.get())) return;
  most_ = kMaxBytes;
  TakeTogether(socket_.get());
}

std::optional<DatagramSocket::Received> DatagramSocket::Receive(std::span<uint8_t> buffer) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
  if (got < 0) return std::nullopt;
  const auto bytes = buffer.first(static_cast<size_t>(got));
  return Received{bytes, SizeOfEach(message).value_or(bytes.size())};
}

size_t DatagramSocket::Together(std::span<const iovec> datagrams) const {
  const size_t size = datagrams[0].iov_len;
  if (size == 0 || size > most_) return 1;
  const size_t most = std::min({datagrams.size(), kMaxTogether, kMaxBytes / size});
  size_t count = 1;
  while (count < most && datagrams[count].iov_len == size) ++count;
  // One of no bytes would be no piece.
  const bool smaller_last =
      count < most && datagrams[count].iov_len < size && datagrams[count].iov_len > 0;
  return smaller_last ? count + 1 : count;
}

bool DatagramSocket::Send(std::span<iovec> datagrams) {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (datagrams.size() == 1) {
    return send(socket_.get(), datagrams[0].iov_base, datagrams[0].iov_len, kFlags) >= 0;
  }
  const auto size = static_cast<uint16_t>(datagrams[0].iov_len);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof size)]{};
  msghdr message{};
  message.msg_iov = datagrams.data();
  message.msg_iovlen = datagrams.size();
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* cut = CMSG_FIRSTHDR(&message);
  cut->cmsg_level = SOL_UDP;
  cut->cmsg_type = UDP_SEGMENT;
  cut->cmsg_len = CMSG_LEN(sizeof size);
  std::memcpy(CMSG_DATA(cut), &size, sizeof size);
  return sendmsg(socket_.get(), &message, kFlags) >= 0;
}

bool DatagramSocket::CutFailed(std::span<const iovec> datagrams, int error) {
  if (datagrams.size() == 1) return false;
  switch (error) {
    case EINVAL:  // Larger than the route's MTU.
    case EMSGSIZE:
      most_ = datagrams[0].iov_len - 1;
      return true;
    case EIO:  // No checksums by the device, IPsec.
    case EOPNOTSUPP:
      most_ = 0;
      return true;
    default:
      return false;
  }
}

}  // namespace sallyport::netstack
