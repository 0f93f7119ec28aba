#include "netstack/tcp_layer.h"

#include <algorithm>
#include <utility>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"

extern "C" {
#include "lwip/tcp.h"
}

namespace sallyport::netstack {
namespace {

// Flows may touch each other while they are served; what still is touched after so many rounds
// waits for the next turn, so that descriptors get theirs.
constexpr int kMaxRounds = 8;
// Starving flows are woken together; waking each for a few free bytes would be quadratic.
constexpr size_t kWakeFraction = 8;

// Fewer flows than this are in the caches anyway.
constexpr size_t kWorthPrefetching = 512;

constexpr size_t kTcpChecksum = 16;

// Whether PACKET of lwIP's, whose headers lie together, says nothing but what was received.
bool IsBareAcknowledgement(const pbuf& packet, bool v6) {
  const size_t ip = v6 ? kIpv6Header : kIpv4Header;
  const auto* tcp = static_cast<const uint8_t*>(packet.payload) + ip;
  return tcp[13] == TcpSegment::kAck && packet.tot_len == ip + 4u * (tcp[12] >> 4);
}

}  // namespace

TcpLayer::TcpLayer(Shared& shared, RxPool& rx_pool)
    : shared_(shared),
      rx_pool_(rx_pool),
      chunk_pool_(shared.budget),
      lwip_(*this,
            shared.wire.has_offload() ? LwipPort::Checksums::kByLink : LwipPort::Checksums::kByLwip,
            shared.options.initial_sequence),
      table_(shared.seed),
      deciding_(shared.loop, shared.options.decision_timeout,
                [](TcpFlow& flow) { flow.OnDecisionTimeout(); }),
      lingering_(shared.loop, shared.options.linger_timeout, [](TcpFlow& flow) { flow.Abort(); }),
      served_at_(shared.loop.now()) {}

TcpLayer::~TcpLayer() {
  std::vector<TcpFlow*> flows = std::exchange(forgotten_, {});
  table_.ForEach([&flows](TcpFlow& flow) { flows.push_back(&flow); });
  for (TcpFlow* flow : flows) {
    flow->Abandon();
    OnDead(*flow);
  }
  Bury();
}

void TcpLayer::Anticipate(std::span<const uint8_t> frame) const {
  constexpr size_t kPorts = 4;
  if (table_.size() < kWorthPrefetching) return;
  if (frame.size() < kEthernetHeader + kIpv6Header + kPorts) return;
  const std::span<const uint8_t> ip = frame.subspan(kEthernetHeader);
  const bool v6 = ip[0] >> 4 == 6;
  if (ip[v6 ? 6 : 9] != kProtocolTcp) return;
  const uint8_t* ports = &ip[v6 ? kIpv6Header : kIpv4Header];
  table_.Prefetch(FlowKey::Of(ip, v6, Load16(ports), Load16(ports + 2)));
}

void TcpLayer::Input(const Packet& packet, RxBufferPtr& frame) {
  const std::optional<TcpSegment> segment = ParseTcp(packet);
  if (!segment) return shared_.stats.Count(Drop::kMalformed);
  TcpFlow* flow = table_.Find(FlowKey::Of(packet, segment->source_port, segment->destination_port));
  if (flow != nullptr && table_.size() >= kWorthPrefetching) flow->Prefetch();
  if (flow == nullptr || flow->dead) return OnUnknown(packet, *segment);
  flow->Input(packet, *segment, frame);
}

void TcpLayer::OnUnknown(const Packet& packet, const TcpSegment& segment) {
  if (segment.has(TcpSegment::kSyn)) return Start(packet, segment);
  if (!segment.has(TcpSegment::kRst)) Refuse(packet, segment);
}

void TcpLayer::Refuse(const Packet& packet, const TcpSegment& segment) {
  const uint32_t sequence = segment.has(TcpSegment::kAck) ? segment.acknowledgement : 0;
  lwip_.Reset(packet, segment.source_port, segment.destination_port, sequence,
              segment.sequence + segment.length());
}

void TcpLayer::Start(const Packet& packet, const TcpSegment& syn) {
  const FlowKey key = FlowKey::Of(packet, syn.source_port, syn.destination_port);
  if (const auto why = Overfull()) {
    shared_.stats.Count(*why);
    shared_.decider.OnFlowRefused(key.Info(0, Transport::kTcp), *why);
    return Refuse(packet, syn);
  }
  if (TcpFlow* old = table_.Find(key)) Forget(*old);  // Dead, to be buried at this turn's end.
  auto* flow = new TcpFlow(*this, key, shared_.next_id++);
  table_.Insert(flow);
  flow->in_table = true;
  ++shared_.stats.tcp_flows;
  ++shared_.stats.tcp_decided;
  ++deciding_count_;
  flow->Decide(packet, syn);
}

/// Why no connection can be added now.
std::optional<Drop> TcpLayer::Overfull() {
  const StackOptions& options = shared_.options;
  if (shared_.stats.tcp_flows >= options.max_tcp_flows ||
      deciding_count_ >= options.max_tcp_deciding) {
    return Drop::kFlowLimit;
  }
  if (!shared_.new_flows.Allow(shared_.loop.now())) return Drop::kFlowRate;
  return std::nullopt;
}

void TcpLayer::Forget(TcpFlow& flow) {
  if (!std::exchange(flow.in_table, false)) return;
  table_.Erase(&flow);
  forgotten_.push_back(&flow);
}

void TcpLayer::OnDead(TcpFlow& flow) {
  if (std::exchange(flow.dead, true)) return;
  dead_.push_back(&flow);
  EnsureTurn();
}

bool TcpLayer::Cut(uint64_t id) {
  TcpFlow* found = nullptr;
  table_.ForEach([&](TcpFlow& flow) {
    if (flow.id() == id && !flow.dead) found = &flow;
  });
  for (TcpFlow* flow : forgotten_) {
    if (flow->id() == id && !flow->dead) found = flow;
  }
  if (found != nullptr) found->Abort();
  return found != nullptr;
}

// ---- Turns.

void TcpLayer::Touch(TcpFlow& flow) {
  if (flow.dead || std::exchange(flow.touched, true)) return;
  touched_.push_back(&flow);
  EnsureTurn();
}

// What happens after this turn's end has been run would otherwise wait for the next event.
void TcpLayer::EnsureTurn() {
  if (turn_wanted_ || !turn_is_over()) return;
  turn_wanted_ = true;
  next_turn_ = shared_.loop.Post([this] { turn_wanted_ = false; });
}

void TcpLayer::EndOfTurn() {
  served_at_ = shared_.loop.now();
  serving_ = true;
  RunTouched();
  serving_ = false;
  Bury();
  if (!touched_.empty()) EnsureTurn();
}

void TcpLayer::RunTouched() {
  for (int round = 0; round < kMaxRounds; ++round) {
    WakeStarved();
    if (touched_.empty()) return;
    const std::vector<TcpFlow*> flows = std::exchange(touched_, {});
    for (const TcpFlow* flow : flows) flow->PrefetchListener();
    for (TcpFlow* flow : flows) {
      flow->touched = false;
      flow->Service();
    }
  }
}

void TcpLayer::Starve(TcpFlow& flow) {
  if (!std::exchange(flow.starved, true)) starved_.push_back(&flow);
}

void TcpLayer::WakeStarved() {
  if (starved_.empty() || shared_.budget.left() < shared_.budget.limit() / kWakeFraction) return;
  for (TcpFlow* flow : std::exchange(starved_, {})) {
    flow->starved = false;
    Touch(*flow);
  }
}

void TcpLayer::Bury() {
  // Telling the decider and destroying a verdict's Pending may end further flows.
  while (!dead_.empty()) {
    TcpFlow* flow = dead_.back();
    dead_.pop_back();
    SetArmed(*flow, false);
    if (flow->touched) std::erase(touched_, flow);
    if (flow->starved) std::erase(starved_, flow);
    Forget(*flow);
    std::erase(forgotten_, flow);
    --shared_.stats.tcp_flows;
    const FlowInfo info = flow->info();
    const FlowStats stats = flow->stats();
    const bool granted = flow->granted();
    delete flow;
    if (granted) shared_.decider.OnFlowEnd(info, stats);
  }
}

// ---- Timers.

void TcpLayer::SetArmed(TcpFlow& flow, bool armed) {
  if (flow.armed == armed) return;
  flow.armed = armed;
  if (armed) {
    flow.armed_previous = nullptr;
    flow.armed_next = std::exchange(first_armed_, &flow);
    if (flow.armed_next != nullptr) flow.armed_next->armed_previous = &flow;
    SetTimer();
    return;
  }
  (flow.armed_previous ? flow.armed_previous->armed_next : first_armed_) = flow.armed_next;
  if (flow.armed_next != nullptr) flow.armed_next->armed_previous = flow.armed_previous;
}

void TcpLayer::SetTimer() {
  if (std::exchange(timer_set_, true)) return;
  timer_ = shared_.loop.After(std::chrono::milliseconds(TCP_TMR_INTERVAL), [this] { OnTick(); });
}

// Runs lwIP's timers over those connections that have something to wait for.
void TcpLayer::OnTick() {
  timer_set_ = false;
  if (first_armed_ == nullptr) return;
  tcp_pcb* chain = nullptr;
  for (TcpFlow* flow = first_armed_; flow != nullptr; flow = flow->armed_next) {
    flow->pcb()->next = chain;
    chain = flow->pcb();
  }
  tcp_active_pcbs = chain;
  tcp_tmr();
  for (tcp_pcb* pcb = std::exchange(tcp_active_pcbs, nullptr); pcb != nullptr;) {
    pcb = std::exchange(pcb->next, nullptr);
  }
  for (TcpFlow* flow = first_armed_; flow != nullptr;) {
    std::exchange(flow, flow->armed_next)->AfterLwip();
  }
  if (first_armed_ != nullptr) SetTimer();
}

// ---- Output.

bool TcpLayer::OnLwipOutput(const pbuf& packet, bool v6) {
  if (hold_acknowledgements_ && IsBareAcknowledgement(packet, v6)) return false;
  Wire::Parts parts;
  std::vector<uint8_t> rest;
  const pbuf* part = &packet;
  for (; part != nullptr && !parts.nearly_full(); part = part->next) {
    parts.Add(part->payload, part->len);
  }
  if (part != nullptr) {
    // Many small pieces that don't lie together.
    rest.resize(part->tot_len);
    pbuf_copy_partial(part, rest.data(), part->tot_len, 0);
    parts.Add(rest.data(), rest.size());
  }
  const EtherType type = v6 ? EtherType::kIpv6 : EtherType::kIpv4;
  shared_.wire.Send(type, parts, shared_.wire.has_offload() ? MakeOffload(packet, v6) : Offload{});
  return true;
}

Offload TcpLayer::MakeOffload(const pbuf& packet, bool v6) {
  const size_t ip = v6 ? kIpv6Header : kIpv4Header;
  const std::span<uint8_t> bytes(static_cast<uint8_t*>(packet.payload), packet.tot_len);
  const Packet view{.v6 = v6, .whole = bytes, .payload = bytes.subspan(ip)};
  uint8_t* tcp = view.payload.data();  // lwIP keeps all headers in the first piece.
  Checksum checksum;
  checksum.AddPseudoHeader(view.source(), view.destination(), kProtocolTcp, view.payload.size());
  Store16(tcp + kTcpChecksum, checksum.Partial());

  Offload offload{.finish_checksum = true,
                  .checksum_start = static_cast<uint16_t>(kEthernetHeader + ip),
                  .checksum_offset = kTcpChecksum,
                  .ipv6 = v6};
  if (packet.tot_len <= shared_.wire.mtu()) return offload;
  const FlowKey key = FlowKey::Reply(view, Load16(tcp), Load16(tcp + 2));
  const TcpFlow* flow = table_.Find(key);
  if (flow == nullptr) return offload;
  offload.segment_size = flow->segment_size();
  offload.header_length = static_cast<uint16_t>(kEthernetHeader + ip + 4u * (tcp[12] >> 4));
  return offload;
}

}  // namespace sallyport::netstack
