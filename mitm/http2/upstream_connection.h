#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/ip_address.h"
#include "base/loop.h"
#include "base/stream.h"
#include "base/turn_flush.h"
#include "mitm/deadline.h"
#include "mitm/http2/upstream_stream.h"
#include "mitm/stream_buffers.h"

struct nghttp2_session;

namespace sallyport::mitm::http2 {

/// One HTTP/2 connection to a server (RFC 9113): many exchanges at once over a verified stream.
///
/// Its owner destroys it, never from inside one of its calls, once over() says so and no
/// UpstreamStream is left.
class UpstreamConnection final : private Stream::Listener {
 public:
  class Owner {
   public:
    /// HasRoom() or over() may have changed. Called from anywhere: only takes a note.
    virtual void OnUpstreamChanged() = 0;

   protected:
    ~Owner() = default;
  };

  /// OWNER outlives it. Sends the preface, later in this turn.
  UpstreamConnection(Loop& loop, std::unique_ptr<Stream> stream, Endpoint peer, Owner& owner);
  /// With no UpstreamStream left. Says GOAWAY.
  ~UpstreamConnection();

  const Endpoint& peer() const { return peer_; }
  /// Whether another exchange may begin: one until the server's SETTINGS are there, then as many as
  /// they allow, and not more than kMaxUpstreamStreams.
  bool HasRoom() const;
  /// The server's SETTINGS are not there yet; they may bring room.
  bool settling() const { return session_ && !settled_ && !retired_; }
  size_t exchanges() const { return exchanges_; }
  /// Serves no exchange, and will not any more.
  bool over() const { return exchanges_ == 0 && (!session_ || retired_); }

  /// Begins an exchange; only when HasRoom(). LISTENER outlives it.
  std::unique_ptr<UpstreamSide> Open(UpstreamSide::Listener& listener);
  /// No more exchanges begin here; those under way go on.
  void Retire();

 private:
  friend class UpstreamStream;
  friend struct UpstreamCallbacks;

  struct SessionDeleter {
    void operator()(nghttp2_session* session) const noexcept;
  };

  // UpstreamStream's calls.
  void Submit(UpstreamStream& stream, const RequestHead& head, std::string_view host,
              BodyLength body);
  void Resume(UpstreamStream& stream);
  void Consume(UpstreamStream& stream, size_t size);
  void Leave(UpstreamStream& stream);

  void OnStreamReady() override;
  void Receive();
  void Send();
  void SendGoodbye();
  void Break(std::string detail);
  void CheckOver();
  void OnDeadline();
  void OnSettled();
  UpstreamStream* Find(int32_t id);
  void Tell(UpstreamStream& stream);
  void TellListeners();
  bool CountControlFrame();

  Loop& loop_;
  Owner& owner_;
  const Endpoint peer_;
  std::unique_ptr<Stream> stream_;  // Null once the connection is dead.
  InputBuffer input_;
  std::optional<OutputBuffer> output_;
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;  // Null with stream_.
  std::unordered_map<int32_t, UpstreamStream*> streams_;
  size_t exchanges_ = 0;
  bool settled_ = false;
  bool retired_ = false;
  bool answered_ = false;       // To any request.
  int control_frames_ = 0;      // Since anything happened.
  size_t kept_heads_ = 0;       // Of exchanges that were given up while the server did not read.
  std::string fatal_;           // Why nghttp2 was made to stop.
  Clock::time_point heard_at_;  // When the server last sent something.
  std::deque<UpstreamStream*> ready_;    // Whose listeners are to be told,
  std::deque<UpstreamStream*> telling_;  // and those of them whose turn it is.
  Loop::Handle tell_;
  Loop::Handle again_;
  Deadline deadline_;
  TurnFlush turn_flush_;
};

}  // namespace sallyport::mitm::http2
