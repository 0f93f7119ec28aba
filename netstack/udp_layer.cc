#include "netstack/udp_layer.h"

#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kUdpHeader = 8;
constexpr size_t kMaxDatagram = 65535;

}  // namespace

UdpLayer::UdpLayer(Shared& shared)
    : shared_(shared),
      table_(shared.seed),
      deciding_(shared.loop, shared.options.decision_timeout,
                [](UdpFlow& flow) { flow.OnDeadline(); }),
      spliced_(shared.loop, shared.options.udp_idle_timeout,
               [](UdpFlow& flow) { flow.OnDeadline(); }),
      served_(shared.loop, shared.options.udp_served_idle_timeout,
              [](UdpFlow& flow) { flow.OnDeadline(); }),
      denied_(shared.loop, shared.options.udp_denied_memory,
              [](UdpFlow& flow) { flow.OnDeadline(); }),
      scratch_(kMaxDatagram) {}

UdpLayer::~UdpLayer() {
  std::vector<UdpFlow*> flows;
  table_.ForEach([&flows](UdpFlow& flow) { flows.push_back(&flow); });
  for (UdpFlow* flow : flows) flow->End();
  EndOfTurn();
}

bool UdpLayer::Valid(const Packet& packet) {
  return packet.payload.size() >= kUdpHeader &&
         Load16(&packet.payload[4]) == packet.payload.size() && Load16(&packet.payload[0]) != 0 &&
         Load16(&packet.payload[2]) != 0;
}

void UdpLayer::Input(const Packet& packet) {
  const FlowKey key = FlowKey::Of(packet, Load16(&packet.payload[0]), Load16(&packet.payload[2]));
  UdpFlow* flow = table_.Find(key);
  if (flow == nullptr) {
    flow = Start(packet, key);
    if (flow == nullptr) return;
  }
  flow->Input(packet, packet.payload.subspan(kUdpHeader));
}

void UdpLayer::RefuseGroup(const Packet& packet) {
  const FlowKey key = FlowKey::Of(packet, Load16(&packet.payload[0]), Load16(&packet.payload[2]));
  shared_.decider.OnFlowRefused(key.Info(0, Transport::kUdp), Drop::kNotForUs);
}

UdpFlow* UdpLayer::Start(const Packet& packet, const FlowKey& key) {
  if (table_.size() >= shared_.options.max_udp_flows && !MakeRoom()) {
    return Refuse(packet, key, Drop::kFlowLimit);
  }
  if (!shared_.new_flows.Allow(shared_.loop.now())) return Refuse(packet, key, Drop::kFlowRate);
  auto* flow = new UdpFlow(*this, key, shared_.next_id++);
  table_.Insert(flow);
  ++shared_.stats.udp_flows;
  ++shared_.stats.udp_decided;
  flow->Decide();
  return flow;
}

/// No flow, for a reason that the guest and the decider are told.
UdpFlow* UdpLayer::Refuse(const Packet& packet, const FlowKey& key, Drop why) {
  shared_.stats.Count(why);
  shared_.decider.OnFlowRefused(key.Info(0, Transport::kUdp), why);
  shared_.icmp.Send(Unreachable::kProhibited, packet.whole, packet.v6);
  return nullptr;
}

// A guest that scans must not lose its resolver: what is remembered of refusals goes first. Then the
// service's flow that has been silent longest: nearly always a question that was answered, kept for
// those who ask again from the same port. Who asks 300 names in a second has 4,500 of these.
bool UdpLayer::MakeRoom() {
  UdpFlow* oldest = denied_.oldest();
  if (oldest == nullptr) oldest = served_.oldest();
  if (oldest == nullptr) return false;
  oldest->End();
  return true;
}

bool UdpLayer::Cut(uint64_t id) {
  UdpFlow* found = nullptr;
  table_.ForEach([&](UdpFlow& flow) {
    if (flow.id() == id) found = &flow;
  });
  if (found != nullptr) found->End();
  return found != nullptr;
}

void UdpLayer::OnDead(UdpFlow& flow) {
  table_.Erase(&flow);
  --shared_.stats.udp_flows;
  dead_.push_back(&flow);
}

void UdpLayer::EndOfTurn() {
  while (!dead_.empty()) {
    const std::unique_ptr<UdpFlow> flow(dead_.back());
    dead_.pop_back();
    if (flow->granted()) shared_.decider.OnFlowEnd(flow->info(), flow->stats());
  }
}

}  // namespace sallyport::netstack
