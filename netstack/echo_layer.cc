#include "netstack/echo_layer.h"

#include <memory>

#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kMaxMessage = 65535;
// Of all pings of a guest together; a flood ping without privileges sends 100 a second or less.
// With kMaxEchoPayload it is 2 MiB a second each way, which is all that the payload of pings can
// carry.
constexpr double kRequestsPerSecond = 256;
constexpr double kRequestBurst = 256;

}  // namespace

EchoLayer::EchoLayer(Shared& shared)
    : shared_(shared),
      table_(shared.seed),
      deciding_(shared.loop, shared.options.decision_timeout,
                [](EchoFlow& flow) { flow.OnDeadline(); }),
      spliced_(shared.loop, shared.options.echo_idle_timeout,
               [](EchoFlow& flow) { flow.OnDeadline(); }),
      denied_(shared.loop, shared.options.udp_denied_memory,
              [](EchoFlow& flow) { flow.OnDeadline(); }),
      requests_(kRequestsPerSecond, kRequestBurst),
      scratch_(kMaxMessage) {}

EchoLayer::~EchoLayer() {
  std::vector<EchoFlow*> flows;
  table_.ForEach([&flows](EchoFlow& flow) { flows.push_back(&flow); });
  for (EchoFlow* flow : flows) flow->End();
  EndOfTurn();
}

void EchoLayer::Input(const Packet& packet) {
  if (packet.payload[1] != 0) return shared_.stats.Count(Drop::kMalformed);  // It has no codes.
  if (packet.payload.size() - kHeader > kMaxEchoPayload) {
    shared_.stats.Count(Drop::kTooLarge);
    shared_.icmp.Send(Unreachable::kProhibited, packet.whole, packet.v6);
    return;
  }
  if (!requests_.Allow(shared_.loop.now())) return shared_.stats.Count(Drop::kRateLimited);
  const FlowKey key = FlowKey::Of(packet, Load16(&packet.payload[4]), 0);
  EchoFlow* flow = table_.Find(key);
  if (flow == nullptr) {
    flow = Start(packet, key);
    if (flow == nullptr) return;
  }
  flow->Input(packet, Load16(&packet.payload[6]), packet.payload.subspan(kHeader));
}

EchoFlow* EchoLayer::Start(const Packet& packet, const FlowKey& key) {
  if (table_.size() >= shared_.options.max_echo_flows && !MakeRoom()) {
    return Refuse(packet, key, Drop::kFlowLimit);
  }
  if (!shared_.new_flows.Allow(shared_.loop.now())) return Refuse(packet, key, Drop::kFlowRate);
  auto* flow = new EchoFlow(*this, key, shared_.next_id++);
  table_.Insert(flow);
  ++shared_.stats.echo_flows;
  ++shared_.stats.echo_decided;
  flow->Decide();
  return flow;
}

/// No flow, for a reason that the guest and the decider are told.
EchoFlow* EchoLayer::Refuse(const Packet& packet, const FlowKey& key, Drop why) {
  shared_.stats.Count(why);
  shared_.decider.OnFlowRefused(key.Info(0, Transport::kIcmp), why);
  shared_.icmp.Send(Unreachable::kProhibited, packet.whole, packet.v6);
  return nullptr;
}

// What is remembered of refusals goes first, so that a scan does not keep out what is granted.
bool EchoLayer::MakeRoom() {
  EchoFlow* oldest = denied_.oldest();
  if (oldest == nullptr) return false;
  oldest->End();
  return true;
}

bool EchoLayer::Cut(uint64_t id) {
  EchoFlow* found = nullptr;
  table_.ForEach([&](EchoFlow& flow) {
    if (flow.id() == id) found = &flow;
  });
  if (found != nullptr) found->End();
  return found != nullptr;
}

void EchoLayer::OnDead(EchoFlow& flow) {
  table_.Erase(&flow);
  --shared_.stats.echo_flows;
  dead_.push_back(&flow);
}

void EchoLayer::EndOfTurn() {
  while (!dead_.empty()) {
    const std::unique_ptr<EchoFlow> flow(dead_.back());
    dead_.pop_back();
    if (flow->granted()) shared_.decider.OnFlowEnd(flow->info(), flow->stats());
  }
}

}  // namespace sallyport::netstack
