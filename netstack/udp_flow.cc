#include "netstack/udp_flow.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "netstack/byte_order.h"
#include "netstack/udp_layer.h"

namespace sallyport::netstack {
namespace {

// Datagrams that wait for a verdict. What a guest can make wait in all is in the budget.
constexpr size_t kMaxQueued = 16;
// Read in one turn from one socket; the rest is reported again.
constexpr int kReadsPerTurn = 32;
constexpr size_t kUdpHeader = 8;
constexpr size_t kChecksumOffset = 6;

Unreachable ToUnreachable(DenyFlow::As as) {
  switch (as) {
    case DenyFlow::As::kRefused:
      return Unreachable::kPort;
    case DenyFlow::As::kUnreachable:
    case DenyFlow::As::kTimedOut:
      return Unreachable::kHost;
    case DenyFlow::As::kProhibited:
      break;
  }
  return Unreachable::kProhibited;
}

}  // namespace

UdpFlow::UdpFlow(UdpLayer& layer, const FlowKey& key, uint64_t id)
    : layer_(layer), id_(id), started_(layer.shared().loop.now()) {
  table_node.key = key;
}

UdpFlow::~UdpFlow() {
  layer_.shared().budget.Give(queued_bytes_);
}

FlowStats UdpFlow::stats() const {
  return {.bytes_up = bytes_up_,
          .bytes_down = bytes_down_,
          .duration = std::chrono::duration_cast<std::chrono::microseconds>(
              layer_.shared().loop.now() - started_)};
}

void UdpFlow::Decide() {
  layer_.deciding().Enter(*this, deadline_);
  decision_ = layer_.shared().decider.Decide(
      info(), [this](FlowVerdict verdict) { OnVerdict(std::move(verdict)); });
}

void UdpFlow::OnVerdict(FlowVerdict verdict) {
  if (dead || state_ != State::kDeciding) return;
  if (auto* splice = std::get_if<SpliceFlow>(&verdict)) {
    if (!StartSplice(std::move(splice->socket))) return FailSplice();
    meter_ = std::move(splice->meter);
    return DeliverQueued();
  }
  const auto* serve = std::get_if<ServeFlow>(&verdict);
  if (serve != nullptr && serve->service != nullptr) {
    StartServing(*serve->service);
    return DeliverQueued();
  }
  const auto* deny = std::get_if<DenyFlow>(&verdict);
  Deny(deny ? deny->as : DenyFlow::As::kProhibited);  // AcceptFlow is for connections.
}

Status UdpFlow::StartSplice(UniqueFd socket) {
  // Level-triggered: what one turn leaves unread is reported again.
  auto watch =
      layer_.shared().loop.Watch(socket.get(), EPOLLIN, [this](uint32_t) { OnReadable(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  socket_.emplace(std::move(socket));
  watch_ = std::move(*watch);
  state_ = State::kSpliced;
  layer_.spliced().Enter(*this, deadline_);
  return {};
}

/// Whoever granted it keeps a note of it until it ends.
void UdpFlow::FailSplice() {
  layer_.shared().decider.OnFlowEnd(info(), stats());
  Deny(DenyFlow::As::kUnreachable);
}

void UdpFlow::StartServing(DatagramService& service) {
  service_ = &service;
  alive_ = std::make_shared<Alive>(Alive{this});
  state_ = State::kServed;
  layer_.served().Enter(*this, deadline_);
}

void UdpFlow::Deny(DenyFlow::As as) {
  ++layer_.shared().stats.udp_refused;
  state_ = State::kDenied;
  denied_as_ = ToUnreachable(as);
  layer_.denied().Enter(*this, deadline_);
  DeliverQueued();
}

void UdpFlow::Input(const Packet& packet, std::span<const uint8_t> payload) {
  switch (state_) {
    case State::kDeciding:
      return Queue(payload);
    case State::kDenied:
      layer_.shared().icmp.Send(denied_as_, packet.whole, packet.v6);
      return;
    case State::kSpliced:
    case State::kServed:
      return Deliver(payload);
  }
}

void UdpFlow::Queue(std::span<const uint8_t> payload) {
  const size_t size = payload.size() + sizeof(Datagram);
  if (queue_.size() == kMaxQueued || !layer_.shared().budget.Take(size)) {
    return layer_.shared().stats.Count(Drop::kMemoryLimit);
  }
  queued_bytes_ += size;
  queue_.emplace_back(payload.begin(), payload.end());
}

void UdpFlow::DeliverQueued() {
  for (const Datagram& datagram : std::exchange(queue_, {})) {
    if (dead) break;
    if (state_ == State::kDenied) {
      TellUnreachable(denied_as_, datagram.size());
    } else {
      Deliver(datagram);
    }
  }
  layer_.batch().Flush();
  layer_.shared().budget.Give(std::exchange(queued_bytes_, 0));
}

void UdpFlow::Deliver(std::span<const uint8_t> payload) {
  deadline_.Refresh();
  if (!Meter(payload.size(), 0)) return;
  bytes_up_ += payload.size();
  layer_.shared().stats.bytes_from_guest += payload.size();
  if (state_ == State::kSpliced) {
    layer_.batch().Add(*this, payload);
  } else {
    Serve(payload);
  }
}

void UdpFlow::SendUp(std::span<iovec> datagrams) {
  while (!datagrams.empty() && !dead) {
    const size_t count = socket_->Together(datagrams);
    SendTogether(datagrams.first(count));
    datagrams = datagrams.subspan(count);
  }
}

void UdpFlow::SendTogether(std::span<iovec> datagrams) {
  // Twice: an error that an earlier datagram caused is reported instead of sending this one.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (socket_->Send(datagrams)) return;
    const int error = errno;
    if (socket_->CutFailed(datagrams, error)) {
      for (size_t at = 0; at < datagrams.size() && !dead; ++at) {
        SendTogether(datagrams.subspan(at, 1));
      }
      return;
    }
    if (error == EAGAIN || error == ENOBUFS) return CountLost(Drop::kSocketFull, datagrams.size());
    if (error == EMSGSIZE) return CountLost(Drop::kTooLarge, datagrams.size());
    if (!OnSocketError(error)) return;
  }
}

void UdpFlow::CountLost(Drop why, size_t datagrams) {
  for (; datagrams > 0; --datagrams) layer_.shared().stats.Count(why);
}

void UdpFlow::Serve(std::span<const uint8_t> payload) {
  const auto reply = [alive = alive_](std::string_view answer) {
    if (alive->flow == nullptr) return;
    alive->flow->SendDown({reinterpret_cast<const uint8_t*>(answer.data()), answer.size()});
  };
  service_->OnDatagram(info(), {reinterpret_cast<const char*>(payload.data()), payload.size()},
                       reply);
}

void UdpFlow::OnReadable() {
  for (int reads = 0; reads < kReadsPerTurn; ++reads) {
    if (const auto received = socket_->Receive(layer_.scratch())) {
      if (!SendAllDown(*received)) return;
    } else if (errno == EAGAIN || !OnSocketError(errno)) {
      return;
    }
  }
}

// False when the flow is over.
bool UdpFlow::SendAllDown(DatagramSocket::Received received) {
  do {
    const size_t size = std::min(received.size, received.bytes.size());
    if (!Meter(0, size)) return false;
    SendDown(received.bytes.first(size));
    received.bytes = received.bytes.subspan(size);
  } while (!received.bytes.empty());
  return true;
}

// Whether the socket is still good for something.
bool UdpFlow::OnSocketError(int error) {
  switch (error) {
    case EINTR:
      return true;
    case ECONNREFUSED:
      TellUnreachable(Unreachable::kPort, 0);
      return true;
    case EHOSTUNREACH:
    case ENETUNREACH:
      TellUnreachable(Unreachable::kHost, 0);
      return true;
    default:
      End();
      return false;
  }
}

// False when the flow has carried enough, and is over.
bool UdpFlow::Meter(uint64_t up, uint64_t down) {
  if (meter_ == nullptr || meter_->Count(up, down)) return true;
  End();
  return false;
}

void UdpFlow::SendDown(std::span<const uint8_t> payload) {
  deadline_.Refresh();
  bytes_down_ += payload.size();
  layer_.shared().stats.bytes_to_guest += payload.size();
  const FlowKey& key = table_node.key;
  std::array<uint8_t, kUdpHeader> header{};
  Store16(&header[0], key.destination_port);
  Store16(&header[2], key.source_port);
  Store16(&header[4], kUdpHeader + payload.size());
  layer_.shared().wire.SendTransport(key.destination_bytes(), key.source_bytes(), kProtocolUdp,
                                     header, kChecksumOffset, payload);
}

// Quotes a datagram of the flow's that is no longer at hand: its headers are enough to find the
// guest's socket by.
void UdpFlow::TellUnreachable(Unreachable reason, size_t payload_size) {
  const FlowKey& key = table_node.key;
  const bool v6 = key.v6 != 0;
  std::array<uint8_t, kIpv6Header + kUdpHeader> quoted{};
  const size_t ip = v6 ? kIpv6Header : kIpv4Header;
  const size_t total = ip + kUdpHeader + payload_size;
  if (v6) {
    quoted[0] = 0x60;
    Store16(&quoted[4], total - kIpv6Header);
    quoted[6] = kProtocolUdp;
    quoted[7] = Wire::kHopLimit;
  } else {
    quoted[0] = 0x45;
    Store16(&quoted[2], total);
    quoted[8] = Wire::kHopLimit;
    quoted[9] = kProtocolUdp;
  }
  std::ranges::copy(key.source_bytes(), &quoted[v6 ? 8 : 12]);
  std::ranges::copy(key.destination_bytes(), &quoted[v6 ? 24 : 16]);
  Store16(&quoted[ip], key.source_port);
  Store16(&quoted[ip + 2], key.destination_port);
  Store16(&quoted[ip + 4], kUdpHeader + payload_size);
  layer_.shared().icmp.Send(reason, std::span(quoted).first(ip + kUdpHeader), v6);
}

void UdpFlow::OnDeadline() {
  if (state_ != State::kDeciding) return End();
  decision_ = {};  // A grant that came now would be nobody's.
  Deny(DenyFlow::As::kTimedOut);
}

void UdpFlow::End() {
  layer_.batch().Flush();  // What it has been allowed to send; it may end by that.
  if (std::exchange(dead, true)) return;
  decision_ = {};  // Now, or a grant that is on its way in this turn would be nobody's.
  if (alive_) alive_->flow = nullptr;
  deadline_.Leave();
  layer_.OnDead(*this);
}

}  // namespace sallyport::netstack
