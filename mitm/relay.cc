#include "mitm/relay.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mitm/limits.h"

namespace sallyport::mitm {

Relay::Relay(Loop& loop, std::unique_ptr<Stream> guest, std::unique_ptr<Stream> server,
             Owner& owner)
    : owner_(owner),
      loop_(loop),
      guest_(std::move(guest)),
      server_(std::move(server)),
      idle_(loop, [this] {
        Abort();
        owner_.OnRelayOver();
      }) {}

Relay::~Relay() {
  guest_->SetListener(nullptr);
  server_->SetListener(nullptr);
}

void Relay::Start() {
  guest_->SetListener(this);
  server_->SetListener(this);
  again_ = loop_.Post([this] { OnStreamReady(); });
}

void Relay::OnStreamReady() {
  again_ = {};
  const uint64_t before = up_.bytes + down_.bytes;
  if (!Copy(*guest_, *server_, up_) || !Copy(*server_, *guest_, down_)) {
    Abort();
    return owner_.OnRelayOver();  // Destroys this.
  }
  if (up_.ended && down_.ended) return owner_.OnRelayOver();
  if (before == 0 || up_.bytes + down_.bytes != before) idle_.Set(kRelayIdleTimeout);
  server_->Flush();
  guest_->Flush();
}

/// Moves what can be moved now; false when a side failed.
bool Relay::Copy(Stream& from, Stream& to, Direction& direction) {
  std::array<uint8_t, kInputBlock> block;
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

/// Neither side may take what was cut off for whole.
void Relay::Abort() {
  broken_ = true;
  guest_->Abort();
  server_->Abort();
}

}  // namespace sallyport::mitm
