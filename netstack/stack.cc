#include "netstack/stack.h"

#include <malloc.h>
#include <sys/random.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "netstack/byte_order.h"
#include "netstack/echo_layer.h"
#include "netstack/fragments.h"
#include "netstack/neighbours.h"
#include "netstack/self_configuration.h"
#include "netstack/tcp_layer.h"
#include "netstack/udp_layer.h"

namespace sallyport::netstack {
namespace {

// Read before other descriptors get their turn; the rest is reported again.
constexpr int kFramesPerTurn = 64;
// The first guess of how many there are: asking for one more than there are costs a system call,
// and so does coming back for what was left.
constexpr int kFirstGuess = 8;
// What pools keep for the next frames is given back when it was not needed for so long.
constexpr auto kTrimInterval = std::chrono::seconds(1);
constexpr unsigned kLeastMtu = 1280;  // Of IPv6.

uint64_t RandomSeed() {
  uint64_t seed;
  SALLYPORT_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return seed;
}

// Whether the guest finds the gateway on the link, by the prefixes that it is told.
bool ShareNetworks(const StackOptions& options) {
  return Prefix(options.guest_v4, 24).Contains(options.gateway_v4) &&
         Prefix(options.guest_v6, 64).Contains(options.gateway_v6);
}

Status CheckOptions(const StackOptions& options) {
  if (!options.guest_v4.is_v4() || !options.gateway_v4.is_v4() || !options.guest_v6.is_v6() ||
      !options.gateway_v6.is_v6()) {
    return Fail(Code::kInvalid, "the guest and the gateway need an IPv4 and an IPv6 address each");
  }
  if (options.guest_v4 == options.gateway_v4 || options.guest_v6 == options.gateway_v6 ||
      options.guest_mac == options.gateway_mac) {
    return Fail(Code::kInvalid, "the guest and the gateway can't have the same address");
  }
  if (IsUnspecified(options.guest_v4.bytes()) || IsUnspecified(options.gateway_v4.bytes()) ||
      IsUnspecified(options.guest_v6.bytes()) || IsUnspecified(options.gateway_v6.bytes())) {
    return Fail(Code::kInvalid, "an address of the guest or the gateway is not set");
  }
  if (options.configure_guest && !ShareNetworks(options)) {
    return Fail(Code::kInvalid,
                "guest and gateway are not in one /24 and one /64, as a guest is told");
  }
  if (options.mtu < kLeastMtu || options.mtu > 65535) {
    return Fail(Code::kInvalid, "an MTU of " + std::to_string(options.mtu));
  }
  return {};
}

}  // namespace

/// Sorts the guest's frames: who may have sent them, whom they are for, and which part answers.
class Stack::Impl {
 public:
  Impl(Loop& loop, std::unique_ptr<Link> link, FlowDecider& decider, const StackOptions& options)
      : options_(options),
        link_(std::move(link)),
        wire_(*link_, options_, stats_),
        icmp_(loop, wire_, options_, stats_),
        neighbours_(wire_, options_, stats_),
        self_configuration_(loop, wire_, options_, stats_),
        budget_(options_.max_buffered_bytes),
        shared_{loop, decider, options_, stats_, wire_, icmp_, budget_, RandomSeed()},
        rx_pool_(budget_),
        tcp_(shared_, rx_pool_),
        fragments_(loop, options_, stats_),
        udp_(shared_),
        echo_(shared_) {}

  Status Start() {
    auto watch = link_->Watch(shared_.loop, [this] { OnReadable(); });
    if (!watch) return tl::unexpected(std::move(watch).error());
    watch_ = std::move(*watch);
    turn_end_ = shared_.loop.AtTurnEnd([this] { EndOfTurn(); });
    return {};
  }

  void ForEachFlow(const std::function<void(const FlowView&)>& visit) const {
    using State = FlowView::State;
    tcp_.ForEach([&visit](const TcpFlow& flow) {
      const State state = flow.deciding()  ? State::kDeciding
                          : flow.closing() ? State::kClosing
                                           : State::kOpen;
      visit({flow.info(), flow.stats(), state});
    });
    udp_.ForEach([&visit](const UdpFlow& flow) {
      if (!flow.deciding() && !flow.granted()) return;
      visit({flow.info(), flow.stats(), flow.deciding() ? State::kDeciding : State::kOpen});
    });
    echo_.ForEach([&visit](const EchoFlow& flow) {
      if (!flow.deciding() && !flow.granted()) return;
      visit({flow.info(), flow.stats(), flow.deciding() ? State::kDeciding : State::kOpen});
    });
  }

  bool Cut(uint64_t id) { return tcp_.Cut(id) || udp_.Cut(id) || echo_.Cut(id); }

  const StackStats& stats() {
    stats_.buffered_bytes = budget_.used();
    return stats_;
  }

 private:
  struct Arrived {
    RxBufferPtr buffer;
    Link::Received received;
    std::span<uint8_t> bytes() const { return buffer->bytes().first(received.length); }
  };

  void OnReadable();
  int FramesToRead();
  Arrived ReadFrame(RxBufferPtr buffer);
  void Handle(Arrived& frame);
  void EndOfTurn();
  void TrimLater();
  void Trim();
  void OnFrame(std::span<uint8_t> frame, bool checksum_trusted, RxBufferPtr& buffer);
  void OnIp(EtherType type, std::span<uint8_t> bytes, bool checksum_trusted, RxBufferPtr& buffer);
  std::variant<std::monostate, Drop> CheckAddresses(const Packet& packet) const;
  void Refuse(const Packet& packet, Drop why);
  void Dispatch(const Packet& packet, RxBufferPtr& buffer);
  void Configure(const Packet& packet);
  bool Admit(const Packet& packet, bool lengths_agree);

  const StackOptions options_;
  StackStats stats_;
  std::unique_ptr<Link> link_;
  Wire wire_;
  Icmp icmp_;
  Neighbours neighbours_;
  SelfConfiguration self_configuration_;
  Budget budget_;
  Shared shared_;
  RxPool rx_pool_;
  RxBufferPtr spare_;
  int guess_ = kFirstGuess;        // How many frames there will be when the link is readable next.
  bool read_all_guessed_ = false;  // In this turn, without seeing the end of what there is.
  bool left_some_ = false;         // The same of the turn before.
  TcpLayer tcp_;
  Fragments fragments_;
  UdpLayer udp_;
  EchoLayer echo_;
  Loop::Handle watch_;
  Loop::Handle turn_end_;
  bool trim_set_ = false;
  Loop::Handle trim_;
};

void Stack::Impl::EndOfTurn() {
  left_some_ = std::exchange(read_all_guessed_, false);
  tcp_.EndOfTurn();
  udp_.EndOfTurn();
  echo_.EndOfTurn();
  TrimLater();
}

// Nothing is set while nothing is kept: an idle stack does not wake up.
void Stack::Impl::TrimLater() {
  if (trim_set_ || (!rx_pool_.keeps_any() && !tcp_.chunk_pool().keeps_any())) return;
  trim_set_ = true;
  trim_ = shared_.loop.After(kTrimInterval, [this] { Trim(); });
}

void Stack::Impl::Trim() {
  trim_set_ = false;
  const bool frames = rx_pool_.Trim();
  const bool chunks = tcp_.chunk_pool().Trim();
  // What was freed among what is in use stays with the process else.
  if (frames || chunks) malloc_trim(0);
}

/// How many frames to read: as many as there were the last time, since a guest that asks and waits
/// sends one and then one again. Where that left some, the link is readable in the very next turn,
/// and the guess doubles.
int Stack::Impl::FramesToRead() {
  if (left_some_) guess_ = std::min(2 * guess_, kFramesPerTurn);
  return guess_;
}

// Each frame is handled when the next one has been read: meanwhile its flow comes into the cache.
void Stack::Impl::OnReadable() {
  Arrived frame;
  const int most = FramesToRead();
  int frames = 0;
  for (; frames < most; ++frames) {
    Arrived next = ReadFrame(std::move(spare_));
    if (next.received.kind == Link::Received::Kind::kFrame) tcp_.Anticipate(next.bytes());
    Handle(frame);
    spare_ = std::move(frame.buffer);
    frame = std::move(next);
    if (frame.received.kind != Link::Received::Kind::kFrame) break;
  }
  read_all_guessed_ = frames == most;
  if (!read_all_guessed_) guess_ = std::max(frames, 1);
  Handle(frame);
  spare_ = std::move(frame.buffer);
  udp_.EndOfFrames();
}

Stack::Impl::Arrived Stack::Impl::ReadFrame(RxBufferPtr buffer) {
  if (!buffer) buffer = rx_pool_.Take();
  const Link::Received received = link_->Read(buffer->bytes());
  return {std::move(buffer), received};
}

void Stack::Impl::Handle(Arrived& frame) {
  switch (frame.received.kind) {
    case Link::Received::Kind::kNothing:
      return;
    case Link::Received::Kind::kGone:
      stats_.link_failed = true;
      watch_ = {};
      return;
    case Link::Received::Kind::kFrame:
      ++stats_.frames_in;
      return OnFrame(frame.bytes(), frame.received.checksum_trusted, frame.buffer);
  }
}

void Stack::Impl::OnFrame(std::span<uint8_t> frame, bool checksum_trusted, RxBufferPtr& buffer) {
  if (frame.size() < kEthernetHeader) return stats_.Count(Drop::kMalformed);
  const bool group = (frame[0] & 1) != 0;
  if (!group && !SameBytes(frame.first(6), options_.gateway_mac)) {
    return stats_.Count(Drop::kNotForUs);
  }
  if (!SameBytes(frame.subspan(6, 6), options_.guest_mac)) return stats_.Count(Drop::kSpoofed);

  const std::span<uint8_t> packet = frame.subspan(kEthernetHeader);
  switch (const auto type = static_cast<EtherType>(Load16(&frame[12]))) {
    case EtherType::kArp:
      return neighbours_.InputArp(packet);
    case EtherType::kIpv4:
    case EtherType::kIpv6:
      return OnIp(type, packet, checksum_trusted, buffer);
  }
  stats_.Count(Drop::kNotForUs);
}

void Stack::Impl::OnIp(EtherType type, std::span<uint8_t> bytes, bool checksum_trusted,
                       RxBufferPtr& buffer) {
  auto parsed = ParseIp(type, bytes);
  if (const auto* drop = std::get_if<Drop>(&parsed)) return stats_.Count(*drop);
  auto& packet = std::get<Packet>(parsed);
  packet.checksum_trusted = checksum_trusted;
  if (self_configuration_.Takes(packet)) return Configure(packet);
  const auto refused = CheckAddresses(packet);
  if (const auto* drop = std::get_if<Drop>(&refused)) return Refuse(packet, *drop);
  if (!packet.fragment) return Dispatch(packet, buffer);

  const std::span<uint8_t> whole = fragments_.Add(packet);
  // Once whole it is no fragment any more, so this goes no deeper.
  if (!whole.empty()) OnIp(type, whole, false, buffer);
}

std::variant<std::monostate, Drop> Stack::Impl::CheckAddresses(const Packet& packet) const {
  const auto source = packet.source();
  const auto destination = packet.destination();
  const auto guest = packet.v6 ? options_.guest_v6.bytes() : options_.guest_v4.bytes();
  const bool discovery = Neighbours::IsDiscovery(packet);
  if (!SameBytes(source, guest)) {
    // The guest's kernel gives itself a link-local address, which is good for discovery only.
    const bool local = packet.v6 && (IsLinkLocal(source) || IsUnspecified(source));
    if (!local) return Drop::kSpoofed;
    if (!discovery) return Drop::kNotForUs;
  }
  if (IsUnspecified(destination) || SameBytes(destination, guest)) return Drop::kMalformed;
  if (IsMulticast(destination) && !discovery) return Drop::kNotForUs;
  return {};
}

void Stack::Impl::Refuse(const Packet& packet, Drop why) {
  stats_.Count(why);
  const bool to_group = why == Drop::kNotForUs && IsMulticast(packet.destination());
  if (!to_group || packet.fragment || packet.protocol != kProtocolUdp) return;
  if (UdpLayer::Valid(packet)) udp_.RefuseGroup(packet);
}

void Stack::Impl::Configure(const Packet& packet) {
  const bool udp = packet.protocol == kProtocolUdp;
  if (Admit(packet, !udp || UdpLayer::Valid(packet))) self_configuration_.Input(packet);
}

// Whether a message may be looked into.
bool Stack::Impl::Admit(const Packet& packet, bool lengths_agree) {
  if (lengths_agree && TransportChecksumRight(packet)) return true;
  stats_.Count(lengths_agree ? Drop::kChecksum : Drop::kMalformed);
  return false;
}

void Stack::Impl::Dispatch(const Packet& packet, RxBufferPtr& buffer) {
  constexpr size_t kIcmpHeader = 8;
  const size_t size = packet.payload.size();
  switch (packet.protocol) {
    case kProtocolTcp:
      if (Admit(packet, size >= TcpSegment::kMinHeader)) tcp_.Input(packet, buffer);
      return;
    case kProtocolUdp:
      if (Admit(packet, UdpLayer::Valid(packet))) udp_.Input(packet);
      return;
    case kProtocolIcmp:
    case kProtocolIcmp6:
      if (packet.v6 != (packet.protocol == kProtocolIcmp6)) break;
      if (!Admit(packet, size >= kIcmpHeader)) return;
      if (Neighbours::IsDiscovery(packet)) return neighbours_.InputDiscovery(packet);
      if (!icmp_.Input(packet)) echo_.Input(packet);
      return;
    default:
      break;
  }
  icmp_.Send(Unreachable::kProhibited, packet.whole, packet.v6);
}

Result<std::unique_ptr<Stack>> Stack::Create(Loop& loop, std::unique_ptr<Link> link,
                                             FlowDecider& decider, const StackOptions& options) {
  if (auto valid = CheckOptions(options); !valid) {
    return tl::unexpected(std::move(valid).error().In("network options"));
  }
  if (LwipPort::exists()) return Fail(Code::kLimit, "this process has a network stack already");
  auto impl = std::make_unique<Impl>(loop, std::move(link), decider, options);
  if (auto started = impl->Start(); !started) {
    return tl::unexpected(std::move(started).error().In("the link"));
  }
  return std::unique_ptr<Stack>(new Stack(std::move(impl)));
}

Stack::Stack(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stack::~Stack() = default;

bool Stack::CutFlow(uint64_t id) {
  return impl_->Cut(id);
}
void Stack::ForEachFlow(const std::function<void(const FlowView&)>& visit) const {
  impl_->ForEachFlow(visit);
}
const StackStats& Stack::stats() const {
  return impl_->stats();
}

}  // namespace sallyport::netstack
