#pragma once

#include "base/loop.h"
#include "base/stream.h"

namespace sallyport::netstack {

class TcpFlow;

/// A guest connection as whoever accepted it sees it. Outlives the flow when the guest is gone
/// first: it is then broken.
class TcpStream final : public Stream {
 public:
  TcpStream(Loop& loop, TcpFlow& flow) : loop_(loop), flow_(&flow) {}
  ~TcpStream() override;

  void SetListener(Listener* listener) override;
  ReadResult Read(std::span<uint8_t> buffer) override;
  size_t Room() override;
  size_t Write(std::string_view bytes) override;
  void Flush() override;
  void CloseWrite() override;
  void Abort() override;

  // For the flow.

  const Listener* listener() const { return listener_; }
  /// Tells the listener, who may destroy the stream. Called from the flow's turn.
  void Notify();
  /// Whether the caller was refused room that is there now.
  bool RoomRegained() const;
  /// The flow is gone: the stream is broken from now on. The listener is told later.
  void Detach();

 private:
  void NotifyLater();
  size_t NoteRoom(size_t room);

  Loop& loop_;
  TcpFlow* flow_;  // Null once the flow is gone.
  Listener* listener_ = nullptr;
  size_t room_seen_ = SIZE_MAX;  // The least room that a caller saw since it was last told.
  bool closed_write_ = false;
  Loop::Handle later_;
};

}  // namespace sallyport::netstack
