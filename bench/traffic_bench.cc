// What traffic costs the stack alone: frames in memory, on a link with offload as a TAP has it, so
// that no system call but a turn's own is counted.
//
// Datagrams: 32 a turn, over 16 flows, each answered with itself by a service; and relayed to a
// socket over loopback, which counts what the kernel takes for one send(). Streams: bulk in frames
// of 64 KiB, thrown away or made up by the stream's owner.
//
//     traffic_bench [--json] [ROUNDS [FIGURE]]
//
// Rounds are interleaved, figures are medians of CPU time; --json prints every round's figure, for
// bench/run netstack. With FIGURE only those whose name begins so: for a profiler.

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/loop.h"
#include "base/unique_fd.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"
#include "netstack/stack.h"
#include "netstack/tcp_segment.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kDatagrams = 200'000;  // Of one measurement,
constexpr size_t kBatch = 32;           // and of one turn.
constexpr uint16_t kFlows = 16;
constexpr size_t kBulk = size_t{2} << 30;
constexpr size_t kSegment = 65'160;  // 45 of 1,448: what a kernel hands a card.
constexpr uint32_t kGuestStart = 5000;
constexpr uint32_t kStackStart = 9000;
constexpr uint16_t kPort = 4000;

StackOptions Options() {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 100);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 1);
  options.guest_v6 = *IpAddress::Parse("fd00::100");
  options.gateway_v6 = *IpAddress::Parse("fd00::1");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  options.initial_sequence = kStackStart;
  return options;
}

/// Everything before the transport's header.
std::vector<uint8_t> Headers(uint8_t protocol, size_t transport) {
  const StackOptions options = Options();
  std::vector<uint8_t> frame(kEthernetHeader + kIpv4Header + transport);
  std::ranges::copy(options.gateway_mac, frame.begin());
  std::ranges::copy(options.guest_mac, frame.begin() + 6);
  Store16(&frame[12], static_cast<uint16_t>(EtherType::kIpv4));
  uint8_t* ip = &frame[kEthernetHeader];
  ip[0] = 0x45;
  Store16(ip + 2, kIpv4Header + transport);
  ip[8] = 64;
  ip[9] = protocol;
  std::ranges::copy(options.guest_v4.bytes(), ip + 12);
  std::ranges::copy(IpAddress::V4(198, 51, 100, 7).bytes(), ip + 16);
  Checksum checksum;
  checksum.Add({ip, kIpv4Header});
  Store16(ip + 10, checksum.Finish());
  return frame;
}

/// A link whose frames are kept: the guest says which comes next.
class QueueLink final : public Link {
 public:
  void Send(const std::vector<uint8_t>* frame) {
    if (waiting_.empty()) eventfd_write(event_.get(), 1);
    waiting_.push_back(frame);
  }
  std::function<void(std::span<iovec>)>
      on_frame;  ///< Of the stack's; the first part is no part of it.

  bool has_offload() const override { return true; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return loop.Watch(event_.get(), EPOLLIN, [call = std::move(on_readable)](uint32_t) { call(); });
  }
  Received Read(std::span<uint8_t> buffer) override {
    if (waiting_.empty()) {
      eventfd_t count;
      eventfd_read(event_.get(), &count);
      return {};
    }
    const std::vector<uint8_t>& frame = *waiting_.front();
    waiting_.pop_front();
    std::memcpy(buffer.data(), frame.data(), frame.size());
    return {.kind = Received::Kind::kFrame, .length = frame.size(), .checksum_trusted = true};
  }
  bool Write(std::span<iovec> parts, const Offload&) override {
    on_frame(parts);
    return true;
  }

 private:
  UniqueFd event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::deque<const std::vector<uint8_t>*> waiting_;
};

class Decider final : public FlowDecider {
 public:
  Decider(Loop& loop, std::function<FlowVerdict()> verdict)
      : loop_(loop), verdict_(std::move(verdict)) {}
  Pending Decide(const FlowInfo&, std::function<void(FlowVerdict)> done) override {
    posted_.push_back(loop_.Post([this, done = std::move(done)] { done(verdict_()); }));
    return {};
  }
  void OnFlowEnd(const FlowInfo&, const FlowStats&) override {}

 private:
  Loop& loop_;
  const std::function<FlowVerdict()> verdict_;
  std::vector<Loop::Handle> posted_;
};

double CpuNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// A stack, and the guest's end of its link.
struct Bench {
  explicit Bench(std::function<FlowVerdict()> verdict)
      : loop(*Loop::Create()), decider(*loop, std::move(verdict)) {
    auto owned = std::make_unique<QueueLink>();
    link = owned.get();
    link->on_frame = [this](std::span<iovec>) { ++frames; };
    stack = *Stack::Create(*loop, std::move(owned), decider, Options());
  }
  void Turn() { SALLYPORT_CHECK(loop->RunOnce()); }

  std::unique_ptr<Loop> loop;
  Decider decider;
  QueueLink* link = nullptr;
  std::unique_ptr<Stack> stack;
  size_t frames = 0;
};

struct Parrot final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
  }
};

/// Nanoseconds a datagram of SIZE bytes.
double Datagrams(Bench& bench, size_t size) {
  std::vector<std::vector<uint8_t>> flows;
  flows.reserve(kFlows);  // The link refers to them.
  for (uint16_t flow = 0; flow < kFlows; ++flow) {
    auto& frame = flows.emplace_back(Headers(kProtocolUdp, 8 + size));
    uint8_t* udp = &frame[kEthernetHeader + kIpv4Header];
    Store16(udp, size_t{kPort} + flow);
    Store16(udp + 2, 53);
    Store16(udp + 4, 8 + size);
    bench.link->Send(&frame);
  }
  for (int turns = 0; turns < 3; ++turns) {  // The verdicts.
    bench.link->Send(&flows[0]);
    bench.Turn();
  }
  const double start = CpuNanoseconds();
  for (size_t sent = 0; sent < kDatagrams; sent += kBatch) {
    for (size_t i = 0; i < kBatch; ++i) bench.link->Send(&flows[i % kFlows]);
    bench.Turn();
  }
  return (CpuNanoseconds() - start) / kDatagrams;
}

double Served(size_t size) {
  Parrot parrot;
  Bench bench([&parrot]() -> FlowVerdict { return ServeFlow{&parrot}; });
  const double cost = Datagrams(bench, size);
  SALLYPORT_CHECK(bench.frames >= kDatagrams);
  return cost;
}

/// A socket connected to one that nobody reads: what it has no room for is dropped there.
UniqueFd SocketToNobody(const UniqueFd& sink) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  SALLYPORT_CHECK(getsockname(sink.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  SALLYPORT_CHECK(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  return fd;
}

double Relayed(size_t size) {
  const UniqueFd sink(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  SALLYPORT_CHECK(bind(sink.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  Bench bench([&sink]() -> FlowVerdict { return SpliceFlow{SocketToNobody(sink)}; });
  return Datagrams(bench, size);
}

/// Reads all there is, or writes as long as there is room.
class Owner final : public Stream::Listener {
 public:
  enum class Does { kReads, kWrites };
  Owner(std::unique_ptr<Stream> stream, Does does)
      : stream_(std::move(stream)), does_(does), block_(256 * 1024, 'x') {
    stream_->SetListener(this);
  }
  void OnStreamReady() override {
    if (does_ == Does::kWrites) {
      while (stream_->Write(block_) > 0) {
      }
      return;
    }
    for (;;) {
      const ReadResult result =
          stream_->Read({reinterpret_cast<uint8_t*>(block_.data()), block_.size()});
      if (result.kind != ReadResult::Kind::kBytes) return;
      bytes += result.bytes;
    }
  }
  size_t bytes = 0;

 private:
  std::unique_ptr<Stream> stream_;
  const Does does_;
  std::string block_;
};

/// The guest's end of one connection.
class Peer {
 public:
  explicit Peer(Bench& bench) : bench_(bench) {
    bench_.link->on_frame = [this](std::span<iovec> parts) { OnFrame(parts); };
  }
  void Open() {
    Send(TcpSegment::kSyn, 0);
    for (int turns = 0; turns < 3; ++turns) bench_.Turn();
    SALLYPORT_CHECK(seen_ == kStackStart + 1);
    Send(TcpSegment::kAck, 0);
    bench_.Turn();
  }
  /// What the stack's window has room for, in whole segments.
  void SendAll() {
    while (next_ + kSegment - acknowledged_ <= window_) Send(TcpSegment::kAck, kSegment);
  }
  void Acknowledge() {
    if (!std::exchange(owes_, false)) return;
    Send(TcpSegment::kAck, 0);
  }
  size_t received() const { return received_; }

 private:
  void Send(uint8_t flags, size_t payload) {
    constexpr size_t kOptions = 8;
    const bool syn = (flags & TcpSegment::kSyn) != 0;
    const size_t header = TcpSegment::kMinHeader + (syn ? kOptions : 0);
    // Payload keeps its frames from round to round: making one costs as much as taking it in.
    auto& pool = payload > 0 ? segments_ : frames_;
    std::vector<uint8_t>& frame = pool[at_++ % pool.size()];
    if (frame.size() != kEthernetHeader + kIpv4Header + header + payload) {
      frame = Headers(kProtocolTcp, header + payload);
    }
    uint8_t* tcp = &frame[kEthernetHeader + kIpv4Header];
    Store16(tcp, kPort);
    Store16(tcp + 2, 443);
    Store32(tcp + 4, next_);
    Store32(tcp + 8, seen_);
    tcp[12] = static_cast<uint8_t>(header / 4 << 4);
    tcp[13] = flags;
    Store16(tcp + 14, 65535);
    const uint8_t options[kOptions] = {2, 4, 0x05, 0xa8, 1, 3, 3, 7};  // MSS 1448, scale 7.
    if (syn) std::copy_n(options, kOptions, tcp + TcpSegment::kMinHeader);
    next_ += static_cast<uint32_t>(payload) + (syn ? 1 : 0);
    bench_.link->Send(&frame);
  }
  void OnFrame(std::span<iovec> parts) {
    size_t size = 0;
    for (const iovec& part : parts.subspan(1)) size += part.iov_len;
    std::array<uint8_t, 128> head;
    size_t filled = 0;
    for (const iovec& part : parts.subspan(1)) {
      const size_t piece = std::min(part.iov_len, head.size() - filled);
      std::memcpy(head.data() + filled, part.iov_base, piece);
      filled += piece;
    }
    const uint8_t* tcp = head.data() + kEthernetHeader + kIpv4Header;
    const size_t headers = kEthernetHeader + kIpv4Header + size_t{4} * (tcp[12] >> 4);
    const bool syn = (tcp[13] & TcpSegment::kSyn) != 0;
    const uint32_t sequence = Load32(tcp + 4);
    if (!syn && sequence != seen_) {  // Sent again: we were not let run for as long.
      owes_ = true;
      return;
    }
    seen_ = sequence + static_cast<uint32_t>(size - headers) + (syn ? 1 : 0);
    acknowledged_ = Load32(tcp + 8);
    window_ = syn ? Load16(tcp + 14) : uint32_t{Load16(tcp + 14)} << 7;
    received_ += size - headers;
    owes_ = owes_ || size > headers;
  }

  Bench& bench_;
  uint32_t next_ = kGuestStart;
  uint32_t acknowledged_ = kGuestStart;
  uint32_t seen_ = 0;
  uint32_t window_ = 0;
  size_t received_ = 0;
  bool owes_ = false;
  // More than wait to be read at once: a window of segments, and an acknowledgement.
  std::vector<std::vector<uint8_t>> segments_{32};
  std::vector<std::vector<uint8_t>> frames_{32};
  size_t at_ = 0;
};

/// Seconds of CPU a GB.
double Bulk(Owner::Does does) {
  std::unique_ptr<Owner> owner;
  Bench bench([&]() -> FlowVerdict {
    return AcceptFlow{[&](std::unique_ptr<Stream> stream) {
      owner = std::make_unique<Owner>(std::move(stream), does);
    }};
  });
  Peer peer(bench);
  peer.Open();
  const double start = CpuNanoseconds();
  const auto carried = [&] { return does == Owner::Does::kReads ? owner->bytes : peer.received(); };
  while (carried() < kBulk) {
    if (does == Owner::Does::kReads) peer.SendAll();
    peer.Acknowledge();
    bench.Turn();
  }
  const double cost = (CpuNanoseconds() - start) / static_cast<double>(carried());
  bench.stack.reset();
  owner.reset();  // Its stream, before the loop.
  return cost;
}

using Figures = std::map<std::string, std::vector<double>>;

struct Measurement {
  std::string_view name;
  double (*measure)();
};

constexpr Measurement kMeasurements[] = {
    {"udp_served_64_ns", [] { return Served(64); }},
    {"udp_relayed_64_ns", [] { return Relayed(64); }},
    {"udp_served_1400_ns", [] { return Served(1400); }},
    {"udp_relayed_1400_ns", [] { return Relayed(1400); }},
    {"bulk_up_s_per_gb", [] { return Bulk(Owner::Does::kReads); }},
    {"bulk_down_s_per_gb", [] { return Bulk(Owner::Does::kWrites); }},
};

Figures Measure(int rounds, std::string_view wanted) {
  Figures figures;
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [name, measure] : kMeasurements) {
      if (name.starts_with(wanted)) figures[std::string(name)].push_back(measure());
    }
  }
  return figures;
}

void PrintJson(const Figures& figures) {
  const char* between = "{";
  for (const auto& [name, values] : figures) {
    std::printf("%s\"%s\": [", between, name.c_str());
    for (size_t i = 0; i < values.size(); ++i) std::printf("%s%.5g", i == 0 ? "" : ", ", values[i]);
    std::printf("]");
    between = ",\n ";
  }
  std::printf("}\n");
}

void PrintTable(const Figures& figures) {
  for (auto [name, values] : figures) {
    std::ranges::sort(values);
    std::printf("%-24s %.5g\n", name.c_str(), values[values.size() / 2]);
  }
}

}  // namespace
}  // namespace sallyport::netstack

int main(int argc, char** argv) {
  using namespace sallyport::netstack;
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const int rest = json ? 2 : 1;
  const int rounds = argc > rest ? std::atoi(argv[rest]) : 5;
  if (rounds < 1) return 1;
  const auto figures = Measure(rounds, argc > rest + 1 ? argv[rest + 1] : "");
  if (figures.empty()) return 1;
  json ? PrintJson(figures) : PrintTable(figures);
  return 0;
}
