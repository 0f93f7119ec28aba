#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/loop.h"
#include "guest/agent/dialled.h"
#include "guest/agent/host_connection.h"
#include "guest/protocol/messages.h"
#include "guest/relay/socket_relay.h"

namespace sallyport::guest {

/// A TCP connection to a server in the sandbox, for a client on the host. The steps:
///
///     Start -> TryNext (each address in turn) -> OnConnected -> (relaying) -> Finish
class DialledStream final : public Dialled, SocketRelay::Frames {
 public:
  /// ON_FINISHED is called once, from within the stream, which must outlive the call.
  DialledStream(Loop& loop, HostConnection& host, uint32_t stream, Dial dial,
                std::function<void()> on_finished);
  DialledStream(const DialledStream&) = delete;
  DialledStream& operator=(const DialledStream&) = delete;

  /// Connects. If that fails the stream is over: the host has been told.
  void Start();

  Status OnFrame(const Frame& frame) override;
  void OnRoom() override;
  bool finished() const override { return finished_; }

 private:
  void TryNext();
  void OnConnecting();
  void OnConnected();
  void Refuse();
  void Finish();

  void Send(FrameType type, std::string_view payload, uint8_t flags, uint32_t credit) override;
  bool crowded() const override { return host_.crowded(); }
  void OnRelayEnd(SocketRelay::End) override { Finish(); }

  Loop& loop_;
  HostConnection& host_;
  const uint32_t stream_;
  std::function<void()> on_finished_;
  Attempts attempts_;
  std::unique_ptr<SocketRelay> relay_;
  bool finished_ = false;
  Loop::Handle deadline_;
};

}  // namespace sallyport::guest
