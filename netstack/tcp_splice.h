#pragma once

#include <memory>

#include "base/loop.h"
#include "base/unique_fd.h"

namespace sallyport::netstack {

class TcpFlow;

/// Relays a guest connection to a host's socket and back, with half-close both ways. Reads from the
/// socket go straight into the memory that lwIP sends from; writes go straight from the frames that
/// the guest sent.
class TcpSplice {
 public:
  /// SOCKET is connected and non-blocking. FLOW owns the splice.
  static Result<std::unique_ptr<TcpSplice>> Create(Loop& loop, TcpFlow& flow, UniqueFd socket);

  /// Moves what can be moved. On the socket's failure, aborts the flow.
  void Pump();
  /// Closes the socket with a reset.
  void Reset();
  /// Whether nothing is left to do: both directions have ended on the socket's side.
  bool done() const { return !socket_.valid(); }

 private:
  TcpSplice(TcpFlow& flow, UniqueFd socket) : flow_(flow), socket_(std::move(socket)) {}
  void OnEvents(uint32_t events);
  void PumpUp();
  void PumpDown();
  bool ReadOnce();
  void Fail();
  void Close();

  TcpFlow& flow_;
  UniqueFd socket_;
  Loop::Handle watch_;
  // The socket is watched edge-triggered, once and for all: these remember what it last said.
  bool readable_ = false;
  bool writable_ = true;
  bool peer_finished_ = false;  // An end was announced: short reads no longer mean "no more now".
  bool failed_ = false;
  bool down_done_ = false;  // The end was read and passed on.
  bool up_done_ = false;    // The guest's end was passed on.
};

}  // namespace sallyport::netstack
