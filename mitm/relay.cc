#include "mitm/relay.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

// Reads of this size go past a socket stream's own buffer.
constexpr size_t kMoveBlock = 32 * 1024;

}  // namespace

Relay::Relay(Loop& loop, std::unique_ptr<Stream> guest, std::unique_ptr<Stream> server,
             Patience patience, policy::Spending spending, Owner& owner)
    : owner_(owner),
      loop_(loop),
      patience_(patience),
      guest_(std::move(guest)),
      server_(std::move(server)),
      spending_(std::move(spending)),
      lifetime_(loop,
                [this] {
                  spending_.OnLifetimeOver();
                  Abort(Outcome::kSpent);
                }),
      idle_(loop, [this] { Abort(Outcome::kIdle); }) {}

Relay::~Relay() {
  guest_->SetListener(nullptr);
  server_->SetListener(nullptr);
}

void Relay::Start() {
  guest_->SetListener(this);
  server_->SetListener(this);
  Wait();
  if (const auto lifetime = spending_.lifetime()) lifetime_.Set(*lifetime);
  again_ = loop_.Post([this] { OnStreamReady(); });
}

void Relay::OnStreamReady() {
  again_ = {};
  const uint64_t before_up = up_.bytes;
  const uint64_t before_down = down_.bytes;
  const bool whole = !up_.ended && !down_.ended;
  if (!Copy(*guest_, *server_, up_) || !Copy(*server_, *guest_, down_)) {
    return Abort(Outcome::kBroken);
  }
  const uint64_t moved_up = up_.bytes - before_up;
  const uint64_t moved_down = down_.bytes - before_down;
  if (!spending_.Count(moved_up, moved_down)) return Abort(Outcome::kSpent);
  if (up_.ended && down_.ended) return owner_.OnRelayOver();  // Destroys this.
  const bool ended = whole && (up_.ended || down_.ended);
  if (ended || moved_up + moved_down > 0) Wait();
  server_->Flush();
  guest_->Flush();
}

/// Moves what can be moved now; false when a side failed.
bool Relay::Copy(Stream& from, Stream& to, Direction& direction) {
  std::array<uint8_t, kMoveBlock> block;
  // Nothing follows an end, but a reset is noticed.
  if (direction.ended) return from.Read({block.data(), 1}).kind != ReadResult::Kind::kBroken;
  for (size_t moved = 0;;) {
    const size_t room = std::min(to.Room(), block.size());
    if (room == 0) return true;
    if (moved >= kTurnBudget) {
      again_ = loop_.Post([this] { OnStreamReady(); });
      return true;
    }
    const ReadResult read = from.Read({block.data(), room});
    switch (read.kind) {
      case ReadResult::Kind::kWouldBlock:
        return true;
      case ReadResult::Kind::kBroken:
        return false;
      case ReadResult::Kind::kEnd:
        to.CloseWrite();
        direction.ended = true;
        return true;
      case ReadResult::Kind::kBytes:
        break;
    }
    if (to.Write({reinterpret_cast<const char*>(block.data()), read.bytes}) != read.bytes) {
      return false;  // Room() promised it, so the stream has failed since.
    }
    direction.bytes += read.bytes;
    moved += read.bytes;
  }
}

void Relay::Wait() {
  idle_.Set(up_.ended || down_.ended ? patience_.half_closed : patience_.open);
}

/// Neither side may take what was cut off for whole.
void Relay::Abort(Outcome outcome) {
  outcome_ = outcome;
  guest_->Abort();
  server_->Abort();
  owner_.OnRelayOver();  // Destroys this.
}

}  // namespace sallyport::mitm
