#include "mitm/websocket/relay.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "mitm/limits.h"
#include "secrets/secret.h"

namespace sallyport::mitm::websocket {
namespace {

/// RFC 6455, 7.4.1.
constexpr uint16_t kProtocolError = 1002;
constexpr uint16_t kPolicyViolation = 1008;

}  // namespace

Relay::Relay(ByteChannel guest, ByteChannel server, std::unique_ptr<MessagePipe> up,
             std::unique_ptr<MessagePipe> down)
    : up_{.sender = Sender::kClient, .from = guest, .to = server, .pipe = std::move(up)},
      down_{.sender = Sender::kServer, .from = server, .to = guest, .pipe = std::move(down)} {}

Relay::State Relay::Pump() {
  const bool more_up = Move(up_);
  const bool more_down = !failed_ && Move(down_);
  if (failed_) {
    Close(failure_.error.code() == Code::kDenied ? kPolicyViolation : kProtocolError);
    return State::kFailed;
  }
  Finish(up_);
  Finish(down_);
  if (Done(up_) && Done(down_)) return State::kOver;
  return more_up || more_down ? State::kMore : State::kOpen;
}

/// Whether the turn's budget ended it.
bool Relay::Move(Direction& direction) {
  const uint64_t until = direction.bytes + kTurnBudget;
  while (direction.bytes < until) {
    if (direction.ended) return false;
    // After its end was passed on, or without a reader, what still comes belongs to nobody.
    const bool dropped = direction.to_gone || *direction.to.write_closed;
    if (!dropped && direction.to.output->Room() < kMinRoom) return false;
    if (direction.from.input->empty()) {
      switch (direction.from.input->Fill(*direction.from.stream)) {
        case ReadResult::Kind::kBytes:
          break;
        case ReadResult::Kind::kWouldBlock:
          direction.from.input->Shrink();
          return false;
        case ReadResult::Kind::kBroken:
          (&direction == &up_ ? down_ : up_).to_gone = true;
          direction.ended = true;
          return false;
        case ReadResult::Kind::kEnd:
          direction.ended = true;
          return false;
      }
    }
    std::string_view& rest = direction.from.input->rest();
    const size_t before = rest.size();
    Status moved;
    if (dropped) {
      rest = {};
    } else {
      moved = Step(direction);
    }
    direction.bytes += before - rest.size();
    if (!moved) {
      failure_ = {direction.sender, std::move(moved).error()};
      failed_ = true;
      return false;
    }
  }
  return true;
}

Status Relay::Step(Direction& direction) {
  std::string_view& rest = direction.from.input->rest();
  if (!direction.pipe) {
    const size_t size = std::min(rest.size(), direction.to.output->Room());
    direction.to.output->Write(rest.substr(0, size));
    rest.remove_prefix(size);
    return {};
  }
  std::string out;
  Status fed = direction.pipe->Feed(rest, out);
  direction.to.output->Write(out);
  secrets::WipeBytes(out.data(), out.size());
  return fed;
}

void Relay::Finish(Direction& direction) {
  if (!direction.ended || direction.to_gone || *direction.to.write_closed) return;
  if (!direction.to.output->Drain()) return;
  // A TLS stream may be destroyed next, and would take its last record along; with room for a whole
  // block none is left in it.
  direction.to.stream->Flush();
  if (direction.to.stream->Room() < kInputBlock) return;
  direction.to.stream->CloseWrite();
  *direction.to.write_closed = true;
}

bool Relay::Done(const Direction& direction) {
  return direction.to_gone || (direction.ended && *direction.to.write_closed);
}

void Relay::Close(uint16_t code) {
  for (Direction* direction : {&up_, &down_}) {
    if (!direction->pipe || direction->to_gone || *direction->to.write_closed) continue;
    std::string out;
    if (!direction->pipe->closed()) direction->pipe->AppendClose(code, out);
    direction->to.output->Write(out);
  }
}

}  // namespace sallyport::mitm::websocket
