#include "netstack/tcp_stream.h"

#include <algorithm>
#include <utility>

#include "netstack/tcp_flow.h"

namespace sallyport::netstack {
namespace {

// Whoever waits for room is told when there is this much more (or all of it): telling for each
// acknowledgement would cost more than it brings.
constexpr size_t kWorthTelling = 64 * 1024;

}  // namespace

TcpStream::~TcpStream() {
  if (flow_ != nullptr) flow_->OnStreamGone();
}

void TcpStream::SetListener(Listener* listener) {
  listener_ = listener;
  if (listener_ != nullptr) NotifyLater();
}

ReadResult TcpStream::Read(std::span<uint8_t> buffer) {
  if (flow_ == nullptr) return {.kind = ReadResult::Kind::kBroken};
  const size_t size = flow_->received().Read(buffer);
  if (size > 0) {
    flow_->OnTaken(size);
    flow_->Touch();
    const bool drained = flow_->received().empty() && !flow_->guest_finished();
    return {.kind = ReadResult::Kind::kBytes, .bytes = size, .drained = drained};
  }
  const bool end = flow_->guest_finished() && flow_->received().empty();
  return {.kind = end ? ReadResult::Kind::kEnd : ReadResult::Kind::kWouldBlock};
}

size_t TcpStream::NoteRoom(size_t room) {
  if (!closed_write_) room_seen_ = std::min(room_seen_, room);
  return room;
}

size_t TcpStream::Room() {
  if (flow_ == nullptr || closed_write_) return 0;
  return NoteRoom(flow_->Room());
}

bool TcpStream::RoomRegained() const {
  if (room_seen_ == SIZE_MAX || closed_write_) return false;
  const size_t room = flow_->Room();
  return room > room_seen_ && (room - room_seen_ >= kWorthTelling || flow_->sending().size() == 0);
}

size_t TcpStream::Write(std::string_view bytes) {
  if (flow_ == nullptr || closed_write_) return 0;
  const size_t room = std::min(flow_->Room(), bytes.size());
  const size_t taken =
      flow_->sending().Append({reinterpret_cast<const uint8_t*>(bytes.data()), room});
  if (taken < bytes.size()) NoteRoom(flow_->Room());
  flow_->FlushEarly();
  flow_->Touch();
  return taken;
}

void TcpStream::Flush() {
  // Whoever flushes to be sure, as a turn's end does, causes no further turn.
  if (flow_ == nullptr || flow_->sending().unwritten() == 0) return;
  flow_->Touch();
  flow_->FlushIfTurnIsOver();
}

void TcpStream::CloseWrite() {
  if (flow_ == nullptr || std::exchange(closed_write_, true)) return;
  flow_->Finish();
}

void TcpStream::Abort() {
  if (flow_ != nullptr) std::exchange(flow_, nullptr)->OnStreamAborted();
}

void TcpStream::Notify() {
  room_seen_ = SIZE_MAX;
  if (listener_ != nullptr) listener_->OnStreamReady();
}

void TcpStream::Detach() {
  flow_ = nullptr;
  NotifyLater();
}

void TcpStream::NotifyLater() {
  later_ = loop_.Post([this] { Notify(); });
}

}  // namespace sallyport::netstack
