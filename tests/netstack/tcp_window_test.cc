#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fixture.h"

// Whatever window a guest announces, whenever it reads, and whatever gets lost: it is sent every
// byte, in order, and the end behind them. And in the other direction, in whatever order it sends.

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;

constexpr Clock::duration kTick = 25ms;
// Nearly three hours: lwIP probes a closed window ever more rarely.
constexpr int kMaxTicks = 400'000;

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; ++at) bytes[at] = static_cast<char>(at * 31 ^ at >> 8);
  return bytes;
}

/// A guest with a receive buffer of a few bytes to 64 KiB, which its program empties now and then,
/// as it pleases. Its window never takes back what it announced.
class MoodyGuest {
 public:
  explicit MoodyGuest(unsigned seed) : random_(seed) {
    capacity_ = size_t{1} << (Below(10) + 7);
    if (Below(4) == 0) capacity_ = 1 + Below(Below(2) == 0 ? 8 : 200);
    loses_ = Below(3) == 0;
    size_ = Below(2) == 0 ? Below(5000) : Below(200'000);
    if (capacity_ < 500) size_ = std::min<size_t>(size_, 2000);
    net_.decider.answer = [this](const FlowInfo&) {
      return AcceptFlow{[this](std::unique_ptr<Stream> made) { stream_ = std::move(made); }};
    };
    guest_ = net_.NewGuest(seed % 2 == 0 ? Ip::kV4 : Ip::kV6);
    guest_->window_scale = false;
    guest_->window = Window();
    guest_->Syn();
    net_.Settle();
    REQUIRE(stream_ != nullptr);
    guest_->auto_ack = false;
  }

  void Run() {
    const std::string bytes = Pattern(size_);
    std::string_view left = bytes;
    bool closed = false;
    for (int tick = 0; tick < kMaxTicks && !guest_->finished; ++tick) {
      if (!left.empty()) {
        left.remove_prefix(stream_->Write(left.substr(0, 1 + Below(20'000))));
      } else if (!std::exchange(closed, true)) {
        stream_->CloseWrite();
      }
      Lose();
      clock_.Advance(kTick);
      net_.Turn();
      REQUIRE(guest_->received.size() - read_ <= capacity_);
      ReadAndAnswer();
    }
    CAPTURE(capacity_, loses_, size_);
    CHECK(guest_->received.size() == bytes.size());
    CHECK(guest_->finished);
    const bool same = guest_->received == bytes;
    CHECK(same);
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  uint16_t Window() const {
    const size_t unread = std::min(guest_->received.size() - read_, capacity_);
    return static_cast<uint16_t>(std::min<size_t>(capacity_ - unread, 65535));
  }

  // Of what the stack sends before the next turn's end.
  void Lose() {
    if (!loses_ || Below(8) != 0) return;
    const Loop::Handle at_once = net_.loop->Post([] {});
    REQUIRE(net_.loop->RunOnce());
    net_.link->sent().clear();
  }

  // Acknowledgements and window updates may get lost as well.
  void ReadAndAnswer() {
    const size_t before = read_;
    if (Below(3) == 0) read_ += Below(guest_->received.size() - read_ + 1);
    const bool news = guest_->received.size() != answered_ || read_ != before;
    if (!news && Below(20) != 0) return;
    if (Below(4) == 0) return;  // Later, with what comes then.
    answered_ = guest_->received.size();
    guest_->window = Window();
    guest_->Ack();
  }

  std::minstd_rand random_;
  size_t capacity_ = 0;
  bool loses_ = false;
  size_t size_ = 0;
  size_t read_ = 0;      // By the guest's program.
  size_t answered_ = 0;  // What was acknowledged.
  ManualClock clock_;
  Fixture net_{TestOptions(), &clock_};
  std::unique_ptr<GuestTcp> guest_;
  std::unique_ptr<Stream> stream_;
};

/// A guest that sends pieces of its stream in any order, some of them again and some with what lies
/// beyond our window, until all is acknowledged; whoever reads does so now and then.
class MuddledGuest {
 public:
  explicit MuddledGuest(unsigned seed) : random_(seed), bytes_(Pattern(Below(300'000))) {
    net_.decider.answer = [this](const FlowInfo&) {
      return AcceptFlow{[this](std::unique_ptr<Stream> made) { stream_ = std::move(made); }};
    };
    const auto first = static_cast<uint32_t>(seed % 3 == 0 ? 0U - Below(100'000) : Below(1000));
    guest_ = net_.NewGuest(seed % 2 == 0 ? Ip::kV4 : Ip::kV6, 40000, 80, first);
    guest_->Syn();
    net_.Settle();
    REQUIRE(stream_ != nullptr);
  }

  void Run() {
    bool ended = false;
    for (int tick = 0; tick < kMaxTicks && !ended; ++tick) {
      for (size_t i = Below(8); i > 0; --i) SendPiece();
      clock_.Advance(kTick);
      net_.Turn();
      if (Below(3) == 0) ended = ReadSome();
    }
    CAPTURE(bytes_.size(), received_.size(), guest_->acknowledged);
    CHECK(ended);
    const bool same = received_ == bytes_;
    CHECK(same);
    CHECK(guest_->acknowledged == bytes_.size() + 2);  // With SYN and FIN.
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  // Mostly what comes next, else something near it.
  void SendPiece() {
    const size_t next = std::min<size_t>(guest_->acknowledged - 1, bytes_.size());
    size_t from = next;
    if (Below(3) != 0) from = next + Below(70'000);
    if (Below(6) == 0) from = next - Below(std::min<size_t>(next, 5000) + 1);
    from = std::min(from, bytes_.size());
    if (from == bytes_.size()) return guest_->FinAt(static_cast<uint32_t>(from));
    const std::string_view piece = std::string_view(bytes_).substr(from, 1 + Below(1440));
    guest_->SendAt(static_cast<uint32_t>(from), piece);
  }

  // Whether the end came.
  bool ReadSome() {
    std::vector<uint8_t> buffer(1 + Below(100'000));
    const ReadResult result = stream_->Read(buffer);
    if (result.kind == ReadResult::Kind::kBytes) {
      received_.append(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(result.bytes));
    }
    return result.kind == ReadResult::Kind::kEnd;
  }

  std::minstd_rand random_;
  const std::string bytes_;
  std::string received_;
  ManualClock clock_;
  Fixture net_{TestOptions(), &clock_};
  std::unique_ptr<GuestTcp> guest_;
  std::unique_ptr<Stream> stream_;
};

TEST_CASE("a guest that sends in any order is heard once, in order, to its end") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    MuddledGuest(seed).Run();
  }
}

TEST_CASE("a guest of any window gets every byte and then the end") {
  for (unsigned seed = 1; seed <= 600; ++seed) {
    CAPTURE(seed);
    MoodyGuest(seed).Run();
  }
}

}  // namespace
}  // namespace sallyport::netstack
