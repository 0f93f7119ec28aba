#include "netstack/echo_flow.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "netstack/byte_order.h"
#include "netstack/echo_layer.h"

namespace sallyport::netstack {
namespace {

// Requests that wait for a verdict: at one a second, the usual rate, most clients have given up.
// Times max_echo_flows it is 8 MiB, which are in the budget besides.
constexpr size_t kMaxQueued = 4;
// Read in one turn from one socket; the rest is reported again.
constexpr int kReadsPerTurn = 32;
constexpr size_t kHeader = 8;
constexpr size_t kChecksumOffset = 2;

struct EchoTypes {
  uint8_t request;
  uint8_t reply;
};

constexpr EchoTypes TypesOf(bool v6) {
  return v6 ? EchoTypes{128, 129} : EchoTypes{8, 0};
}

Unreachable ToUnreachable(DenyFlow::As as) {
  return as == DenyFlow::As::kProhibited ? Unreachable::kProhibited : Unreachable::kHost;
}

std::optional<IpAddress> AddressOf(const sockaddr_storage& name) {
  if (name.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &name, sizeof v4);
    return ToIpAddress({reinterpret_cast<const uint8_t*>(&v4.sin_addr), 4});
  }
  if (name.ss_family != AF_INET6) return std::nullopt;
  sockaddr_in6 v6;
  std::memcpy(&v6, &name, sizeof v6);
  return ToIpAddress({v6.sin6_addr.s6_addr, 16});
}

// What the network says of a request is then in the socket's error queue, with the request.
void KeepErrors(int socket, bool v6) {
  const int on = 1;
  setsockopt(socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on,
             sizeof on);
}

std::optional<sock_extended_err> ExtendedError(msghdr& message) {
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    const bool v4 = at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_RECVERR;
    const bool v6 = at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_RECVERR;
    if ((!v4 && !v6) || at->cmsg_len < CMSG_LEN(sizeof(sock_extended_err))) continue;
    sock_extended_err error;
    std::memcpy(&error, CMSG_DATA(at), sizeof error);
    return error;
  }
  return std::nullopt;
}

// Whether the network itself says that it has a rule against it.
bool IsProhibition(const sock_extended_err& error) {
  if (error.ee_origin == SO_EE_ORIGIN_ICMP6) return error.ee_type == 1 && error.ee_code == 1;
  const bool unreachable = error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == 3;
  return unreachable && (error.ee_code == 9 || error.ee_code == 10 || error.ee_code == 13);
}

}  // namespace

EchoFlow::EchoFlow(EchoLayer& layer, const FlowKey& key, uint64_t id)
    : layer_(layer), id_(id), started_(layer.shared().loop.now()) {
  table_node.key = key;
}

EchoFlow::~EchoFlow() {
  layer_.shared().budget.Give(queued_bytes_);
}

FlowStats EchoFlow::stats() const {
  return {.bytes_up = bytes_up_,
          .bytes_down = bytes_down_,
          .duration = std::chrono::duration_cast<std::chrono::microseconds>(
              layer_.shared().loop.now() - started_)};
}

void EchoFlow::Decide() {
  layer_.deciding().Enter(*this, deadline_);
  decision_ = layer_.shared().decider.Decide(
      info(), [this](FlowVerdict verdict) { OnVerdict(std::move(verdict)); });
}

void EchoFlow::OnVerdict(FlowVerdict verdict) {
  if (dead || state_ != State::kDeciding) return;
  if (auto* splice = std::get_if<SpliceFlow>(&verdict)) {
    if (!StartSplice(std::move(splice->socket))) return FailSplice();
    meter_ = std::move(splice->meter);
    return DeliverQueued();
  }
  const auto* deny = std::get_if<DenyFlow>(&verdict);
  Deny(deny ? deny->as : DenyFlow::As::kProhibited);  // Nobody here answers pings for others.
}

Status EchoFlow::StartSplice(UniqueFd socket) {
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  if (getpeername(socket.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    return tl::unexpected(Error::FromErrno("getpeername"));
  }
  const auto peer = AddressOf(name);
  if (!peer) return Fail(Code::kInvalid, "a socket that is no ping socket");
  peer_ = *peer;
  KeepErrors(socket.get(), peer_.is_v6());
  // Level-triggered: what one turn leaves unread is reported again.
  auto watch = layer_.shared().loop.Watch(socket.get(), EPOLLIN,
                                          [this](uint32_t events) { OnReady(events); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  socket_ = std::move(socket);
  watch_ = std::move(*watch);
  state_ = State::kSpliced;
  layer_.spliced().Enter(*this, deadline_);
  return {};
}

/// Whoever granted it keeps a note of it until it ends.
void EchoFlow::FailSplice() {
  layer_.shared().decider.OnFlowEnd(info(), stats());
  Deny(DenyFlow::As::kUnreachable);
}

void EchoFlow::Deny(DenyFlow::As as) {
  ++layer_.shared().stats.echo_refused;
  state_ = State::kDenied;
  denied_as_ = ToUnreachable(as);
  layer_.denied().Enter(*this, deadline_);
  DeliverQueued();
}

void EchoFlow::Input(const Packet& packet, uint16_t sequence, std::span<const uint8_t> payload) {
  switch (state_) {
    case State::kDeciding:
      return Queue(sequence, payload);
    case State::kDenied:
      layer_.shared().icmp.Send(denied_as_, packet.whole, packet.v6);
      return;
    case State::kSpliced:
      return SendUp(sequence, payload);
  }
}

void EchoFlow::Queue(uint16_t sequence, std::span<const uint8_t> payload) {
  const size_t size = payload.size() + sizeof(Request);
  if (queue_.size() == kMaxQueued || !layer_.shared().budget.Take(size)) {
    return layer_.shared().stats.Count(Drop::kMemoryLimit);
  }
  queued_bytes_ += size;
  queue_.push_back({sequence, {payload.begin(), payload.end()}});
}

void EchoFlow::DeliverQueued() {
  for (const Request& request : std::exchange(queue_, {})) {
    if (dead) break;
    if (state_ == State::kDenied) {
      TellUnreachable(denied_as_, request.sequence);
    } else {
      SendUp(request.sequence, request.payload);
    }
  }
  layer_.shared().budget.Give(std::exchange(queued_bytes_, 0));
}

// The identifier and the checksum are the kernel's to fill in.
void EchoFlow::SendUp(uint16_t sequence, std::span<const uint8_t> payload) {
  deadline_.Refresh();
  if (!Meter(payload.size(), 0)) return;
  std::array<uint8_t, kHeader> header{TypesOf(peer_.is_v6()).request};
  Store16(&header[6], sequence);
  std::array<iovec, 2> parts{
      {{header.data(), header.size()}, {const_cast<uint8_t*>(payload.data()), payload.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  // Twice: an error that an earlier request caused is reported instead of sending this one.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      bytes_up_ += payload.size();
      layer_.shared().stats.bytes_from_guest += payload.size();
      ++unanswered_;
      return;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
      return layer_.shared().stats.Count(Drop::kSocketFull);
    }
  }
  const bool prohibited = errno == EPERM || errno == EACCES;  // The host's own firewall.
  TellUnreachable(prohibited ? Unreachable::kProhibited : Unreachable::kHost, sequence);
}

void EchoFlow::OnReady(uint32_t events) {
  if ((events & EPOLLERR) != 0) ReadErrors();
  if (!dead) ReadReplies();
}

void EchoFlow::ReadReplies() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const std::span<uint8_t> buffer = layer_.scratch();
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const ssize_t got = recvfrom(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return;  // Nothing more, or an error that the queue of errors tells.
    // The kernel hands over what anybody sends to the socket's identifier.
    if (AddressOf(from) == peer_) OnReply(buffer.first(static_cast<size_t>(got)));
    if (dead) return;
  }
}

void EchoFlow::OnReply(std::span<const uint8_t> message) {
  const bool reply = message.size() >= kHeader && message[0] == TypesOf(peer_.is_v6()).reply &&
                     message[1] == 0 && message.size() - kHeader <= kMaxEchoPayload;
  if (!reply || unanswered_ == 0) return;
  --unanswered_;
  const std::span<const uint8_t> payload = message.subspan(kHeader);
  if (!Meter(0, payload.size())) return;
  deadline_.Refresh();
  bytes_down_ += payload.size();
  layer_.shared().stats.bytes_to_guest += payload.size();
  const FlowKey& key = table_node.key;
  const bool v6 = key.v6 != 0;
  std::array<uint8_t, kHeader> header{TypesOf(v6).reply};
  Store16(&header[4], key.source_port);
  std::copy_n(&message[6], 2, &header[6]);
  layer_.shared().wire.SendTransport(key.destination_bytes(), key.source_bytes(),
                                     v6 ? kProtocolIcmp6 : kProtocolIcmp, header, kChecksumOffset,
                                     payload);
}

void EchoFlow::ReadErrors() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    const std::span<uint8_t> buffer = layer_.scratch();
    alignas(cmsghdr) std::array<uint8_t, 512> control;
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (got < 0) break;
    const auto error = ExtendedError(message);
    // The request that it is about comes with it, as far as the network quoted it.
    if (!error || static_cast<size_t>(got) < kHeader) continue;
    const uint16_t sequence = Load16(&buffer[6]);
    if (error->ee_errno == EMSGSIZE) {
      TellTooBig(error->ee_info, sequence);
    } else {
      TellUnreachable(IsProhibition(*error) ? Unreachable::kProhibited : Unreachable::kHost,
                      sequence);
    }
  }
  // An error that is in no queue would be reported for ever.
  int pending = 0;
  socklen_t size = sizeof pending;
  getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &pending, &size);
}

// False when the flow has carried enough, and is over.
bool EchoFlow::Meter(uint64_t up, uint64_t down) {
  if (meter_ == nullptr || meter_->Count(up, down)) return true;
  End();
  return false;
}

void EchoFlow::TellUnreachable(Unreachable reason, uint16_t sequence) {
  std::array<uint8_t, kIpv6Header + kHeader> storage;
  layer_.shared().icmp.Send(reason, Quote(sequence, storage), table_node.key.v6 != 0);
}

void EchoFlow::TellTooBig(uint32_t mtu, uint16_t sequence) {
  constexpr uint32_t kMoreOfV6 = kIpv6Header - kIpv4Header;
  const bool v6 = table_node.key.v6 != 0;
  // Of packets as the guest sends them, where the outside has the other version.
  if (v6 && !peer_.is_v6()) mtu += kMoreOfV6;
  if (!v6 && peer_.is_v6()) mtu -= std::min(mtu, kMoreOfV6);
  std::array<uint8_t, kIpv6Header + kHeader> storage;
  layer_.shared().icmp.SendTooBig(mtu, Quote(sequence, storage), v6);
}

// A request of the flow's that is no longer at hand: its headers are enough to find the guest's
// socket by.
std::span<const uint8_t> EchoFlow::Quote(uint16_t sequence, std::span<uint8_t> storage) const {
  const FlowKey& key = table_node.key;
  const bool v6 = key.v6 != 0;
  const size_t ip = v6 ? kIpv6Header : kIpv4Header;
  const std::span<uint8_t> quoted = storage.first(ip + kHeader);
  std::ranges::fill(quoted, uint8_t{0});
  if (v6) {
    quoted[0] = 0x60;
    Store16(&quoted[4], kHeader);
    quoted[6] = kProtocolIcmp6;
    quoted[7] = Wire::kHopLimit;
  } else {
    quoted[0] = 0x45;
    Store16(&quoted[2], ip + kHeader);
    quoted[8] = Wire::kHopLimit;
    quoted[9] = kProtocolIcmp;
  }
  std::ranges::copy(key.source_bytes(), &quoted[v6 ? 8 : 12]);
  std::ranges::copy(key.destination_bytes(), &quoted[v6 ? 24 : 16]);
  quoted[ip] = TypesOf(v6).request;
  Store16(&quoted[ip + 4], key.source_port);
  Store16(&quoted[ip + 6], sequence);
  return quoted;
}

void EchoFlow::OnDeadline() {
  if (state_ != State::kDeciding) return End();
  decision_ = {};  // A grant that came now would be nobody's.
  Deny(DenyFlow::As::kTimedOut);
}

void EchoFlow::End() {
  if (std::exchange(dead, true)) return;
  decision_ = {};  // Now, or a grant that is on its way in this turn would be nobody's.
  deadline_.Leave();
  layer_.OnDead(*this);
}

}  // namespace sallyport::netstack
