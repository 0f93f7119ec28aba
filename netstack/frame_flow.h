#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "netstack/flow_decider.h"

namespace sallyport::netstack {

/// Whose a frame is, as far as that can be seen in it.
struct FrameFlow {
  Transport transport = Transport::kTcp;
  Endpoint source;
  Endpoint destination;
};

/// The flow of FRAME, a TCP or UDP packet with its ports (no later fragment) or a ping; for an ICMP
/// error that of the packet it quotes, so that source is the guest. Nothing else is verified.
std::optional<FrameFlow> FlowOfFrame(std::span<const uint8_t> frame);

/// Whether FLOW is FRAME's, in either direction.
bool Belongs(const FrameFlow& frame, const FlowInfo& flow);

}  // namespace sallyport::netstack
