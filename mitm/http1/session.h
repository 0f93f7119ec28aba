#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mitm/deadline.h"
#include "mitm/exchange.h"
#include "mitm/flow_context.h"
#include "mitm/http1/request_parser.h"
#include "mitm/message.h"
#include "mitm/stream_buffers.h"

namespace sallyport::mitm::http1 {

/// A guest's HTTP/1 connection: its requests, one after the other, each decided by itself, each
/// answered before the next one is looked at. Pipelined requests wait in the input.
class Session final : public GuestSide, public Stream::Listener {
 public:
  class Owner {
   public:
    /// The connection is over; destroys the session.
    virtual void OnSessionOver() = 0;

   protected:
    ~Owner() = default;
  };

  /// All outlive it. ALREADY_READ are bytes that STREAM brought before.
  Session(FlowContext& flow, Stream& stream, std::string_view already_read, Owner& owner);
  ~Session();

  /// Does what can be done now; called once, to begin. May destroy this.
  void Run();

 private:
  enum class State { kServing, kDraining, kOver };

  // GuestSide: what the exchange does to the guest.
  MessageEvent ReadBody(size_t max) override;
  const Headers& trailers() const override { return parser_.trailers(); }
  const ProtocolError& error() const override { return parser_.error(); }
  size_t Room() override;
  void WriteInterim(const ResponseHead& head) override;
  void WriteHead(const ResponseHead& head, BodyLength body) override;
  void WriteBody(std::string_view piece) override;
  void WriteEnd(const Headers& trailers) override;
  std::optional<ByteChannel> channel() override {
    return ByteChannel{&input_, &output_, &stream_, &write_closed_};
  }
  void Break() override;
  void Resume() override { Run(); }

  void OnStreamReady() override;
  void OnDeadline();
  void Serve();
  bool BeginExchange();
  void StartExchange(std::optional<Refusal> refusal);
  void EndExchange();
  void WatchGuest();
  void Wait();
  void CloseAfterAnswer();
  void CloseWrite();
  void Drain();

  FlowContext& flow_;
  Stream& stream_;
  Owner& owner_;
  State state_ = State::kServing;
  InputBuffer input_;
  OutputBuffer output_;
  RequestParser parser_;
  Deadline deadline_;
  std::unique_ptr<Exchange> exchange_;
  bool waiting_in_head_ = false;  // The deadline is that of a head under way.

  // Of the exchange under way:
  bool to_head_ = false;
  bool body_read_ = false;   // The request is complete.
  bool unreadable_ = false;  // It broke HTTP; nothing more is read from this guest.
  bool close_after_ = false;
  bool bodiless_ = false;
  bool chunked_ = false;

  size_t drained_ = 0;
  bool write_closed_ = false;
  Loop::Handle again_;
};

}  // namespace sallyport::mitm::http1
