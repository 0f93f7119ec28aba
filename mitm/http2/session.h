#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "mitm/deadline.h"
#include "mitm/exchange.h"
#include "mitm/flow_context.h"
#include "mitm/http2/guest_codec.h"
#include "mitm/stream_buffers.h"

namespace sallyport::mitm::http2 {

/// A guest's HTTP/2 connection: its requests side by side, each decided by itself.
class Session final : public Stream::Listener, private GuestCodec::Listener {
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
  /// Says goodbye to a guest that is still there.
  ~Session();

  /// Does what can be done now; called once, to begin. May destroy this.
  void Run();

 private:
  enum class State { kServing, kClosing, kOver };

  /// A request under way. Once its exchange is over, its answer is still to be delivered.
  struct Request {
    Request(Gate& gate, std::function<void()> expired);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    Gate& gate;
    Deadline deadline;
    std::unique_ptr<Exchange> exchange;
  };

  void OnStreamReady() override { Run(); }
  void OnResume(GuestStream&) override { Run(); }
  void OnLingering(GuestStream& stream) override;
  void OnClosed(GuestStream& stream) override;
  void OnDeadline();
  void OnRequestDeadline(int32_t id);

  void Serve();
  bool Receive();
  void PumpReady(int& begun);
  void Begin(GuestStream& stream);
  static void Pump(Request& request);
  void Send();
  void Wait();
  void EndByFault();
  void Close(Clock::duration patience);
  void FinishClosing();
  void RecordFault(Reason reason, std::string_view detail);

  FlowContext& flow_;
  Stream& stream_;
  Owner& owner_;
  State state_ = State::kServing;
  InputBuffer input_;
  OutputBuffer output_;
  Deadline deadline_;
  enum class Waiting { kNothing, kPreface, kHead, kRequest } waiting_ = Waiting::kPreface;
  int32_t head_ = 0;  // The stream of kHead.
  GuestCodec codec_;
  std::unordered_map<int32_t, Request> requests_;
  bool input_ended_ = false;
  size_t drained_ = 0;
  bool write_closed_ = false;
  Loop::Handle again_;
};

}  // namespace sallyport::mitm::http2
