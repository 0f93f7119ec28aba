// What an exchange costs, by how many connections are open: a stack on a link in memory, whose
// guest opens N connections and then sends small requests on one after the other, in random order.
// The stream's owner echoes each, and the guest acknowledges the echo a turn later: three frames.
// Also what opening and closing one connection costs beside N others, and how much memory an idle
// one takes.
//
//     netstack_bench [--json] [ROUNDS]
//
// Rounds are interleaved and figures are medians of CPU time, so one run's ratios can be compared;
// with --json it prints every round's figure, for bench/run netstack. The cost is given with one
// exchange a turn, which includes a turn of the loop (four system calls), and with 32, which shows
// the stack alone.

#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <random>
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

constexpr size_t kPayload = 64;
constexpr size_t kHeaders = kEthernetHeader + kIpv4Header + TcpSegment::kMinHeader;
constexpr uint32_t kGuestStart = 5000;
constexpr uint32_t kStackStart = 9000;
constexpr uint16_t kFirstPort = 1024;
constexpr size_t kExchanges = 100'000;  // Of one measurement.
constexpr size_t kOpenings = 20'000;

StackOptions Options() {
  StackOptions options;
  options.guest_v4 = IpAddress::V4(10, 0, 2, 100);
  options.gateway_v4 = IpAddress::V4(10, 0, 2, 1);
  options.guest_v6 = *IpAddress::Parse("fd00::100");
  options.gateway_v6 = *IpAddress::Parse("fd00::1");
  options.guest_mac = {2, 0, 0, 0, 0, 2};
  options.gateway_mac = {2, 0, 0, 0, 0, 1};
  options.initial_sequence = kStackStart;
  options.new_flows_per_second = options.new_flow_burst = 1e9;  // What it could, not what it may.
  return options;
}

/// The guest's end of one connection.
struct Peer {
  uint32_t next = kGuestStart;  // What it sends next.
  uint32_t seen = 0;            // What it has got of the stack's.
  bool finished = false;
};

/// A link with offload, as a TAP is one; the guest behind it keeps no state but its Peers.
class BenchLink final : public Link {
 public:
  explicit BenchLink(size_t connections) : peers_(connections) {
    SALLYPORT_CHECK(event_.valid());
    const StackOptions options = Options();
    std::ranges::copy(options.gateway_mac, frame_.begin());
    std::ranges::copy(options.guest_mac, frame_.begin() + 6);
    Store16(&frame_[12], static_cast<uint16_t>(EtherType::kIpv4));
    uint8_t* ip = &frame_[kEthernetHeader];
    ip[0] = 0x45;
    ip[8] = 64;
    ip[9] = kProtocolTcp;
    std::ranges::copy(options.guest_v4.bytes(), ip + 12);
    std::ranges::copy(IpAddress::V4(198, 51, 100, 7).bytes(), ip + 16);
  }

  bool all_read() const { return waiting_.empty(); }

  void Send(size_t index, uint8_t flags, size_t payload) {
    if (waiting_.empty()) eventfd_write(event_.get(), 1);
    waiting_.push_back({index, flags, payload});
  }
  Peer& peer(size_t index) { return peers_[index]; }

  bool has_offload() const override { return true; }
  Result<Loop::Handle> Watch(Loop& loop, std::function<void()> on_readable) override {
    return loop.Watch(event_.get(), EPOLLIN, [call = std::move(on_readable)](uint32_t) { call(); });
  }
  Received Read(std::span<uint8_t> buffer) override;
  bool Write(std::span<iovec> parts, const Offload& offload) override;

 private:
  struct Waiting {
    size_t index;
    uint8_t flags;
    size_t payload;
  };

  UniqueFd event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::vector<Peer> peers_;
  std::vector<Waiting> waiting_;
  size_t next_ = 0;
  std::array<uint8_t, kHeaders + kPayload> frame_{};
};

Link::Received BenchLink::Read(std::span<uint8_t> buffer) {
  if (next_ == waiting_.size()) {
    waiting_.clear();
    next_ = 0;
    eventfd_t count;
    eventfd_read(event_.get(), &count);
    return {};
  }
  const auto [index, flags, payload] = waiting_[next_++];
  Peer& peer = peers_[index];
  uint8_t* ip = &frame_[kEthernetHeader];
  Store16(ip + 2, kHeaders - kEthernetHeader + payload);
  Store16(ip + 10, 0);
  Checksum checksum;
  checksum.Add({ip, kIpv4Header});
  Store16(ip + 10, checksum.Finish());
  uint8_t* tcp = ip + kIpv4Header;
  Store16(tcp, kFirstPort + index);
  Store16(tcp + 2, 443);
  Store32(tcp + 4, peer.next);
  Store32(tcp + 8, peer.seen);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  Store16(tcp + 14, 65535);
  peer.next += static_cast<uint32_t>(payload);
  if ((flags & (TcpSegment::kSyn | TcpSegment::kFin)) != 0) ++peer.next;
  std::copy_n(frame_.begin(), kHeaders + payload, buffer.begin());
  return {.kind = Received::Kind::kFrame, .length = kHeaders + payload, .checksum_trusted = true};
}

bool BenchLink::Write(std::span<iovec> parts, const Offload&) {
  std::array<uint8_t, 2048> frame;
  size_t size = 0;
  for (const iovec& part : parts.subspan(1)) {
    SALLYPORT_CHECK(size + part.iov_len <= frame.size());
    std::memcpy(frame.data() + size, part.iov_base, part.iov_len);
    size += part.iov_len;
  }
  const uint8_t* tcp = frame.data() + kEthernetHeader + kIpv4Header;
  SALLYPORT_CHECK(size >= kHeaders && (tcp[13] & TcpSegment::kRst) == 0);
  Peer& peer = peers_[Load16(tcp + 2) - kFirstPort];
  const size_t payload = size - kEthernetHeader - kIpv4Header - size_t{4} * (tcp[12] >> 4);
  peer.seen = Load32(tcp + 4) + static_cast<uint32_t>(payload);
  if ((tcp[13] & (TcpSegment::kSyn | TcpSegment::kFin)) != 0) ++peer.seen;
  if ((tcp[13] & TcpSegment::kFin) != 0) peer.finished = true;
  return true;
}

/// Echoes what comes, and ends when the guest does.
class Echo final : public Stream::Listener {
 public:
  explicit Echo(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->SetListener(this);
  }
  void OnStreamReady() override {
    std::array<uint8_t, 512> buffer;
    for (;;) {
      const ReadResult result = stream_->Read(buffer);
      if (result.kind == ReadResult::Kind::kEnd) stream_.reset();
      if (result.kind != ReadResult::Kind::kBytes) return;
      stream_->Write({reinterpret_cast<const char*>(buffer.data()), result.bytes});
    }
  }

 private:
  std::unique_ptr<Stream> stream_;
};

/// Grants everything, in the same turn.
class Granter final : public FlowDecider {
 public:
  Granter(Loop& loop, size_t connections) : loop_(loop), owners_(connections) {}
  Pending Decide(const FlowInfo& flow, std::function<void(FlowVerdict)> done) override {
    std::unique_ptr<Echo>& owner = owners_[size_t{flow.source.port} - kFirstPort];
    posted_ = loop_.Post([&owner, done = std::move(done)] {
      done(AcceptFlow{
          [&owner](std::unique_ptr<Stream> stream) { owner.reset(new Echo(std::move(stream))); }});
    });
    return {};
  }
  void OnFlowEnd(const FlowInfo&, const FlowStats&) override { ++ended; }
  size_t ended = 0;

 private:
  Loop& loop_;
  Loop::Handle posted_;
  std::vector<std::unique_ptr<Echo>> owners_;
};

double CpuNanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// A stack with OPEN connections.
class Bench {
 public:
  explicit Bench(size_t open) : open_(open), loop_(*Loop::Create()), granter_(*loop_, open + 1) {
    auto link = std::make_unique<BenchLink>(open + 1);
    link_ = link.get();
    stack_ = *Stack::Create(*loop_, std::move(link), granter_, Options());
    Open(0);  // What only the first connection allocates is not an idle connection's.
    const size_t before = mallinfo2().uordblks;
    for (size_t i = 1; i < open; ++i) Open(i);
    if (open > 1) idle_bytes_ = (mallinfo2().uordblks - before) / (open - 1);
  }

  size_t idle_bytes() const { return idle_bytes_; }

  /// Nanoseconds an exchange, BATCH to a turn, each on another connection.
  double Exchanges(size_t batch) {
    std::vector<size_t> order(open_);
    for (size_t i = 0; i < open_; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    const uint64_t sent = stack_->stats().frames_out;
    const double start = CpuNanoseconds();
    for (size_t done = 0; done < kExchanges; done += batch) {
      for (size_t i = 0; i < batch && done > 0; ++i) {
        link_->Send(order[(done - batch + i) % open_], TcpSegment::kAck, 0);
      }
      for (size_t i = 0; i < batch; ++i) {
        link_->Send(order[(done + i) % open_], TcpSegment::kAck | TcpSegment::kPsh, kPayload);
      }
      Turn();
    }
    const double time = CpuNanoseconds() - start;
    // A few more: acknowledgements, where lwIP's timer came between.
    SALLYPORT_CHECK(stack_->stats().frames_out - sent >= kExchanges);
    return time / kExchanges;
  }

  /// Nanoseconds to open a connection and close it again.
  double OpenAndClose() {
    const size_t ended = granter_.ended;
    const double start = CpuNanoseconds();
    for (size_t i = 0; i < kOpenings; ++i) {
      Open(open_);
      link_->Send(open_, TcpSegment::kAck | TcpSegment::kFin, 0);
      Turn();
      SALLYPORT_CHECK(link_->peer(open_).finished);
      link_->Send(open_, TcpSegment::kAck, 0);
      Turn();
    }
    const double time = CpuNanoseconds() - start;
    SALLYPORT_CHECK(granter_.ended - ended == kOpenings);
    return time / kOpenings;
  }

 private:
  void Open(size_t index) {
    link_->peer(index) = {};
    link_->Send(index, TcpSegment::kSyn, 0);
    Turn();
    SALLYPORT_CHECK(link_->peer(index).seen == kStackStart + 1);
    link_->Send(index, TcpSegment::kAck, 0);
    Turn();
  }
  /// More than one where the stack leaves frames for the next: it guesses how many there are.
  void Turn() {
    do {
      SALLYPORT_CHECK(loop_->RunOnce());
    } while (!link_->all_read());
  }

  const size_t open_;
  std::mt19937 random_{1};
  std::unique_ptr<Loop> loop_;
  Granter granter_;
  BenchLink* link_ = nullptr;
  std::unique_ptr<Stack> stack_;
  size_t idle_bytes_ = 0;
};

double MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Of one number of open connections: a figure a round.
struct Figures {
  std::vector<double> single, many, opening;
  size_t idle = 0;
};

std::map<size_t, Figures> Measure(int rounds) {
  constexpr std::array<size_t, 4> kOpen{1, 100, 1000, 10'000};
  std::map<size_t, Figures> all;
  for (int round = 0; round < rounds; ++round) {
    for (const size_t open : kOpen) {
      Bench bench(open);
      Figures& figures = all[open];
      figures.single.push_back(bench.Exchanges(1));
      if (open >= 32) figures.many.push_back(bench.Exchanges(32));
      figures.opening.push_back(bench.OpenAndClose());
      figures.idle = bench.idle_bytes();
    }
  }
  return all;
}

void PrintTable(const std::map<size_t, Figures>& all) {
  std::printf("%8s %24s %24s %22s %12s\n", "open", "ns/exchange, 1 a turn",
              "ns/exchange, 32 a turn", "ns/open and close", "bytes/idle");
  const double single = MedianOf(all.at(1).single);
  const double many = MedianOf(all.at(100).many);
  const double opening = MedianOf(all.at(1).opening);
  for (const auto& [open, figures] : all) {
    std::printf("%8zu %16.0f (%4.2fx)", open, MedianOf(figures.single),
                MedianOf(figures.single) / single);
    if (figures.many.empty()) {
      std::printf(" %24s", "-");
    } else {
      std::printf(" %16.0f (%4.2fx)", MedianOf(figures.many), MedianOf(figures.many) / many);
    }
    std::printf(" %14.0f (%4.2fx) %12zu\n", MedianOf(figures.opening),
                MedianOf(figures.opening) / opening, figures.idle);
  }
}

void PrintArray(const char* name, const std::vector<double>& values) {
  std::printf("\"%s\": [", name);
  for (size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%.1f", i == 0 ? "" : ", ", values[i]);
  }
  std::printf("], ");
}

void PrintJson(const std::map<size_t, Figures>& all) {
  const char* between = "[";
  for (const auto& [open, figures] : all) {
    std::printf("%s{\"open\": %zu, ", between, open);
    PrintArray("exchange_ns", figures.single);
    PrintArray("batch_ns", figures.many);
    PrintArray("open_close_ns", figures.opening);
    std::printf("\"idle_bytes\": %zu}", figures.idle);
    between = ",\n ";
  }
  std::printf("]\n");
}

}  // namespace
}  // namespace sallyport::netstack

int main(int argc, char** argv) {
  using namespace sallyport::netstack;
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const int rest = json ? 2 : 1;
  const int rounds = argc > rest ? std::atoi(argv[rest]) : 7;
  if (rounds < 1) return 1;
  const auto all = Measure(rounds);
  json ? PrintJson(all) : PrintTable(all);
  return 0;
}
