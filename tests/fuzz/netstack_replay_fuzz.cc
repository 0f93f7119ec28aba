// Reads a capture and feeds a stack what a guest sends in it.
//
// Input: a file as tcpdump, Wireshark or `sandboxctl run --pcap` writes it. The guest is the one of
// the tests in tests/netstack: 10.0.2.15, fd00:5a11::15, 02:00:00:00:00:02.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "capture_reader.h"
#include "netstack/stack.h"
#include "replay_link.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kMaxFrames = 256;

StackOptions Options() {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 15);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 2);
  options.guest_v6 = *IpAddress::Parse("fd00:5a11::15");
  options.gateway_v6 = *IpAddress::Parse("fd00:5a11::2");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  options.max_buffered_bytes = 1024 * 1024;
  options.initial_sequence = 7000;
  return options;
}

/// Serves UDP with the question itself, and lets TCP streams go at once.
class Granter final : public FlowDecider, public DatagramService {
 public:
  explicit Granter(Loop& loop) : loop_(loop) {}
  Pending Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) override {
    auto waiting = std::make_shared<Loop::Handle>();
    *waiting = loop_.Post([this, udp = flow.transport == Transport::kUdp, done = std::move(done)] {
      if (udp) return done(ServeFlow{this});
      done(AcceptFlow{[](const std::unique_ptr<Stream>&) {}});
    });
    return Pending([waiting] { *waiting = {}; });
  }
  void OnFlowEnd(const FlowInfo&, const FlowStats&) override {}
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
  }

 private:
  Loop& loop_;
};

void Run(std::span<const uint8_t> input) {
  auto frames = ReadCapture(input);
  if (!frames) return;
  if (frames->size() > kMaxFrames) frames->resize(kMaxFrames);
  auto loop = Loop::Create();
  SALLYPORT_CHECK(loop.has_value());
  Granter granter(**loop);
  const StackOptions options = Options();
  auto owned = std::make_unique<ReplayLink>(*std::move(frames), options.guest_mac);
  const ReplayLink& link = *owned;
  auto stack = Stack::Create(**loop, std::move(owned), granter, options);
  SALLYPORT_CHECK(stack.has_value());
  for (int quiet = 0; quiet < 3;) {
    const Loop::Handle at_once = (*loop)->Post([] {});
    SALLYPORT_CHECK((*loop)->RunOnce().has_value());
    quiet = link.left() == 0 ? quiet + 1 : 0;
  }
  for (const auto& frame : link.sent) SALLYPORT_CHECK(frame.size() <= 14 + options.mtu);
  SALLYPORT_CHECK((*stack)->stats().buffered_bytes <= options.max_buffered_bytes);
}

}  // namespace
}  // namespace sallyport::netstack

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sallyport::netstack::Run({data, size});
  return 0;
}
