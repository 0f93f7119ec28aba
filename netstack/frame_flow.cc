#include "netstack/frame_flow.h"

#include "netstack/byte_order.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kIcmpHeader = 8;
constexpr uint8_t kUnreachable = 3;
constexpr uint8_t kUnreachable6 = 1;
constexpr size_t kEchoIdentifier = 4;  // Where it lies.

struct Transported {
  uint8_t protocol = 0;
  std::span<const uint8_t> source;
  std::span<const uint8_t> destination;
  std::span<const uint8_t> message;
};

std::optional<Transported> Unpack4(std::span<const uint8_t> ip) {
  if (ip.size() < kIpv4Header) return std::nullopt;
  const size_t header = size_t{4} * (ip[0] & 0x0f);
  const bool later_fragment = (Load16(&ip[6]) & 0x1fff) != 0;
  if (header < kIpv4Header || header > ip.size() || later_fragment) return std::nullopt;
  return Transported{ip[9], ip.subspan(12, 4), ip.subspan(16, 4), ip.subspan(header)};
}

std::optional<Transported> Unpack6(std::span<const uint8_t> ip) {
  if (ip.size() < kIpv6Header) return std::nullopt;
  Transported found{ip[6], ip.subspan(8, 16), ip.subspan(24, 16), ip.subspan(kIpv6Header)};
  if (found.protocol != kProtocolFragment) return found;
  if (found.message.size() < kFragmentHeaderSize) return std::nullopt;
  if ((Load16(&found.message[2]) & 0xfff8) != 0) return std::nullopt;
  found.protocol = found.message[0];
  found.message = found.message.subspan(kFragmentHeaderSize);
  return found;
}

// Of a request or a reply: as FlowInfo has it, the guest's port is the identifier.
std::optional<FrameFlow> FlowOfEcho(const Transported& found) {
  const bool v6 = found.protocol == kProtocolIcmp6;
  const uint8_t type = found.message[0];
  const bool request = type == (v6 ? 128 : 8);
  const bool reply = type == (v6 ? 129 : 0);
  if ((!request && !reply) || found.message.size() < kIcmpHeader) return std::nullopt;
  const uint16_t identifier = Load16(&found.message[kEchoIdentifier]);
  FrameFlow flow{.transport = Transport::kIcmp,
                 .source = {ToIpAddress(found.source), 0},
                 .destination = {ToIpAddress(found.destination), 0}};
  (request ? flow.source : flow.destination).port = identifier;
  return flow;
}

enum class Quotes { kFollowed, kNot };

std::optional<FrameFlow> FlowOfIp(std::span<const uint8_t> ip, Quotes quotes) {
  if (ip.empty()) return std::nullopt;
  const auto found = ip[0] >> 4 == 4 ? Unpack4(ip) : Unpack6(ip);
  if (!found || found->message.size() < 4) return std::nullopt;
  const bool tcp = found->protocol == kProtocolTcp;
  if (tcp || found->protocol == kProtocolUdp) {
    return FrameFlow{.transport = tcp ? Transport::kTcp : Transport::kUdp,
                     .source = {ToIpAddress(found->source), Load16(&found->message[0])},
                     .destination = {ToIpAddress(found->destination), Load16(&found->message[2])}};
  }
  if (found->protocol != kProtocolIcmp && found->protocol != kProtocolIcmp6) return std::nullopt;
  if (auto echo = FlowOfEcho(*found)) return echo;
  const bool error = (found->protocol == kProtocolIcmp && found->message[0] == kUnreachable) ||
                     (found->protocol == kProtocolIcmp6 && found->message[0] == kUnreachable6);
  if (!error || quotes == Quotes::kNot || found->message.size() <= kIcmpHeader) return std::nullopt;
  return FlowOfIp(found->message.subspan(kIcmpHeader), Quotes::kNot);
}

}  // namespace

std::optional<FrameFlow> FlowOfFrame(std::span<const uint8_t> frame) {
  if (frame.size() <= kEthernetHeader) return std::nullopt;
  const auto type = static_cast<EtherType>(Load16(&frame[12]));
  if (type != EtherType::kIpv4 && type != EtherType::kIpv6) return std::nullopt;
  return FlowOfIp(frame.subspan(kEthernetHeader), Quotes::kFollowed);
}

bool Belongs(const FrameFlow& frame, const FlowInfo& flow) {
  if (frame.transport != flow.transport) return false;
  const bool up = frame.source == flow.source && frame.destination == flow.destination;
  return up || (frame.source == flow.destination && frame.destination == flow.source);
}

}  // namespace sallyport::netstack
