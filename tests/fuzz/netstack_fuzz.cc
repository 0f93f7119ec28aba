// Feeds a stack the frames of a hostile guest.
//
// Input: one byte that chooses the verdicts, whether the link has offload (0x80) and whether the
// guest is told its configuration (0x40), then frames, each behind a length of two bytes (network
// order) and one byte of flags: bit 0 puts the right MAC addresses, source address and IPv4 header
// checksum in, bit 1 runs the loop first, so that frames can meet verdicts and streams' answers.

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/stack.h"

namespace sallyport::netstack {
namespace {

StackOptions Options() {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 15);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 2);
  options.guest_v6 = *IpAddress::Parse("fd00:5a11::15");
  options.gateway_v6 = *IpAddress::Parse("fd00:5a11::2");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  options.max_tcp_flows = 8;
  options.max_udp_flows = 4;
  options.max_echo_flows = 4;
  options.max_buffered_bytes = 256 * 1024;
  options.initial_sequence = 0;  // So that a fuzzer can acknowledge.
  return options;
}

// Vouches for every transport checksum: those are no obstacle worth a fuzzer's time.
class FuzzLink final : public Link {
 public:
  explicit FuzzLink(bool offload) : offload_(offload) {}
  bool has_offload() const override { return offload_; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return loop.AtTurnEnd(std::move(on_readable));
  }
  Received Read(std::span<uint8_t> buffer) override {
    if (frame.empty()) return {};
    const size_t size = std::min(frame.size(), buffer.size());
    std::ranges::copy(frame.first(size), buffer.begin());
    frame = {};
    return {.kind = Received::Kind::kFrame, .length = size, .checksum_trusted = true};
  }
  bool Write(std::span<iovec> parts, const Offload&) override {
    size_t size = 0;
    for (const iovec& part : parts.subspan(1)) {
      // Looks at every byte, for the sanitizers.
      const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
      for (size_t at = 0; at < part.iov_len; ++at) sum_ = sum_ + bytes[at];
      size += part.iov_len;
    }
    SALLYPORT_CHECK(size <= (offload_ ? kMaxFrame : 14 + 1500));
    return true;
  }
  std::span<uint8_t> frame;

 private:
  const bool offload_;
  volatile uint8_t sum_ = 0;
};

class Echo final : public Stream::Listener {
 public:
  explicit Echo(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->SetListener(this);
  }
  void OnStreamReady() override {
    std::array<uint8_t, 3000> buffer;
    for (;;) {
      const size_t room = std::min(stream_->Room(), buffer.size());
      if (room == 0) return;
      const ReadResult result = stream_->Read(std::span(buffer).first(room));
      if (result.kind == ReadResult::Kind::kEnd) return stream_.reset();
      if (result.kind != ReadResult::Kind::kBytes) return;
      stream_->Write({reinterpret_cast<const char*>(buffer.data()), result.bytes});
    }
  }
  ~Echo() = default;

 private:
  std::unique_ptr<Stream> stream_;
};

class FuzzDecider final : public FlowDecider, public DatagramService {
 public:
  FuzzDecider(Loop& loop, uint8_t choice) : loop_(loop), choice_(choice) {}

  Pending Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) override {
    auto waiting = std::make_shared<Loop::Handle>();
    const unsigned choice = choice_ + flow.destination.port;
    if (choice % 7 == 6) return {};  // Never answered.
    *waiting = loop_.Post([this, choice, done = std::move(done)] { done(Verdict(choice)); });
    return Pending([waiting] { *waiting = {}; });
  }
  void OnFlowEnd(const FlowInfo&, const FlowStats&) override {}
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
    late_ = std::move(reply);
  }

 private:
  FlowVerdict Verdict(unsigned choice) {
    switch (choice % 7) {
      case 0:
        return DenyFlow{static_cast<DenyFlow::As>(choice / 7 % 4)};
      case 1:
      case 2:
        return AcceptFlow{[this](std::unique_ptr<Stream> stream) {
          echoes_.push_back(std::make_unique<Echo>(std::move(stream)));
        }};
      case 3:
        return ServeFlow{this};
      default:
        return Splice();
    }
  }
  // The other end reads nothing and sends a little.
  FlowVerdict Splice() {
    int pair[2];
    const int type = SOCK_NONBLOCK | SOCK_CLOEXEC;
    SALLYPORT_CHECK(socketpair(AF_UNIX, SOCK_STREAM | type, 0, pair) == 0);
    hosts_.emplace_back(pair[1]);
    send(pair[1], "hello", 5, MSG_NOSIGNAL);
    if (hosts_.size() % 2 == 0) hosts_.pop_back();
    return SpliceFlow{UniqueFd(pair[0])};
  }

  Loop& loop_;
  const uint8_t choice_;
  std::vector<std::unique_ptr<Echo>> echoes_;
  std::vector<UniqueFd> hosts_;
  std::function<void(std::string_view)> late_;
};

void Repair(std::span<uint8_t> frame, const StackOptions& options) {
  if (frame.size() < 34) return;
  std::ranges::copy(options.gateway_mac, frame.begin());
  std::ranges::copy(options.guest_mac, frame.begin() + 6);
  if (Load16(&frame[12]) == 0x86dd && frame.size() >= 54) {
    std::ranges::copy(options.guest_v6.bytes(), frame.begin() + 22);
  }
  if (Load16(&frame[12]) != 0x0800) return;
  std::ranges::copy(options.guest_v4.bytes(), frame.begin() + 26);
  Store16(&frame[24], 0);
  Checksum checksum;
  checksum.Add(frame.subspan(14, 20));
  Store16(&frame[24], checksum.Finish());
}

void Turn(Loop& loop) {
  const Loop::Handle at_once = loop.Post([] {});
  SALLYPORT_CHECK(loop.RunOnce().has_value());
}

void Run(std::span<const uint8_t> input) {
  StackOptions options = Options();
  options.configure_guest = (input[0] & 0x40) != 0;
  auto loop = Loop::Create();
  SALLYPORT_CHECK(loop.has_value());
  FuzzDecider decider(**loop, input[0]);
  auto owned = std::make_unique<FuzzLink>((input[0] & 0x80) != 0);
  FuzzLink& link = *owned;
  auto stack = Stack::Create(**loop, std::move(owned), decider, options);
  SALLYPORT_CHECK(stack.has_value());

  std::vector<uint8_t> frame;
  for (size_t at = 1; at + 3 <= input.size();) {
    const size_t size = std::min<size_t>(Load16(&input[at]), input.size() - at - 3);
    const uint8_t flags = input[at + 2];
    frame.assign(input.begin() + static_cast<ptrdiff_t>(at + 3),
                 input.begin() + static_cast<ptrdiff_t>(at + 3 + size));
    at += 3 + size;
    if (flags & 1) Repair(frame, options);
    if (flags & 2) Turn(**loop);
    link.frame = frame;
    Turn(**loop);
  }
  Turn(**loop);
  SALLYPORT_CHECK((*stack)->stats().buffered_bytes <= options.max_buffered_bytes);
}

}  // namespace
}  // namespace sallyport::netstack

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) sallyport::netstack::Run({data, size});
  return 0;
}
