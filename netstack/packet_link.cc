#include "netstack/packet_link.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "netstack/datagram_cutter.h"
#include "netstack/vnet_header.h"
#include "netstack/vnet_offload.h"

namespace sallyport::netstack {
namespace {

// Of the 12 bytes of VnetHeader, packet sockets know the first 10.
constexpr size_t kPacketVnetHeader = 10;
// A whole TCP window in frames of 64 KiB, with the kernel's overhead: a full queue drops, and lwIP
// recovers badly from loss.
constexpr int kReceiveBuffer = 8 * 1024 * 1024;

class PacketLink final : public Link {
 public:
  PacketLink(UniqueFd socket, bool vnet) : socket_(std::move(socket)), vnet_(vnet) {}

  bool has_offload() const override { return vnet_; }

  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    loop_ = &loop;
    on_readable_ = std::move(on_readable);
    return loop.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { on_readable_(); });
  }

  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  Received NextPiece(std::span<uint8_t> buffer);
  void OnMore();

  UniqueFd socket_;
  const bool vnet_;
  Loop* loop_ = nullptr;
  std::function<void()> on_readable_;
  DatagramCutter cutter_;
  bool more_posted_ = false;
  Loop::Handle more_;  // Says that pieces are left, which the socket can't.
};

// Without vnet headers the kernel says beside the frame that its checksum is not filled in.
bool ChecksumNotReady(msghdr& message) {
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_PACKET || item->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata data;
    std::memcpy(&data, CMSG_DATA(item), sizeof data);
    return (data.tp_status & TP_STATUS_CSUMNOTREADY) != 0;
  }
  return false;
}

Link::Received PacketLink::NextPiece(std::span<uint8_t> buffer) {
  const size_t length = cutter_.Next(buffer);
  if (cutter_.pending() && !more_posted_) {
    more_posted_ = true;
    more_ = loop_->Post([this] { OnMore(); });
  }
  return {.kind = Received::Kind::kFrame, .length = length, .checksum_trusted = true};
}

void PacketLink::OnMore() {
  more_posted_ = false;
  on_readable_();
}

Link::Received PacketLink::Read(std::span<uint8_t> buffer) {
  if (cutter_.pending()) return NextPiece(buffer);
  for (;;) {
    VnetHeader header;
    const size_t header_size = vnet_ ? kPacketVnetHeader : 0;
    iovec parts[] = {{&header, header_size}, {buffer.data(), buffer.size()}};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
    sockaddr_ll from{};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
    if (got < 0) {
      // Of a frame that vnet headers have no words for nothing is left; it counts as malformed.
      if (errno == EINVAL) return {.kind = Received::Kind::kFrame};
      // An interface that is down is reported once; it may come up again.
      const bool again = errno == EAGAIN || errno == EINTR || errno == ENETDOWN;
      return {.kind = again ? Received::Kind::kNothing : Received::Kind::kGone};
    }
    const bool cut = (message.msg_flags & MSG_TRUNC) != 0;
    if (cut || from.sll_pkttype == PACKET_OUTGOING || got < static_cast<ssize_t>(header_size)) {
      continue;
    }
    const size_t length = static_cast<size_t>(got) - header_size;
    const bool several = vnet_ && header.gso_type == VnetHeader::kGsoUdp && loop_ != nullptr;
    if (several && cutter_.Start(buffer.first(length), header.gso_size)) return NextPiece(buffer);
    return {.kind = Received::Kind::kFrame,
            .length = length,
            .checksum_trusted = vnet_ ? ChecksumTrusted(header) : ChecksumNotReady(message)};
  }
}

bool PacketLink::Write(std::span<iovec> parts, const Offload& offload) {
  VnetHeader header = ToVnetHeader(offload);
  parts[0] = {&header, vnet_ ? kPacketVnetHeader : 0};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

bool Enable(int socket, int option) {
  const int on = 1;
  return setsockopt(socket, SOL_PACKET, option, &on, sizeof on) == 0;
}

}  // namespace

Result<std::unique_ptr<Link>> MakePacketLink(UniqueFd socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) {
    return tl::unexpected(Error::FromErrno("SO_DOMAIN"));
  }
  if (domain != AF_PACKET) return Fail(Code::kInvalid, "not a packet socket");

  const bool vnet = Enable(socket.get(), PACKET_VNET_HDR);
  if (!vnet && !Enable(socket.get(), PACKET_AUXDATA)) {
    return tl::unexpected(Error::FromErrno("PACKET_AUXDATA"));
  }
  // Where the kernel can't, Read() passes over frames that the host itself sends.
  Enable(socket.get(), PACKET_IGNORE_OUTGOING);
  // With privilege the first has no upper bound; else the second takes what is allowed.
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer,
                 sizeof kReceiveBuffer) != 0) {
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  }
  return std::unique_ptr<Link>(new PacketLink(std::move(socket), vnet));
}

}  // namespace sallyport::netstack
