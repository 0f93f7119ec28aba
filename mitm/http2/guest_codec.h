#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "mitm/http2/flood_guard.h"
#include "mitm/http2/guest_stream.h"

namespace sallyport::mitm::http2 {

/// The server's end of one HTTP/2 connection (RFC 9113), without any I/O: bytes go in and come out,
/// requests appear as GuestStreams. What requests and answers mean is the same for every way of
/// cutting the bytes.
///
/// A malformed request is a stream with a head_error() or body error, to be answered 400; one that
/// breaks the framing, or floods, ends the connection: fault() says why, and a GOAWAY is sent.
class GuestCodec {
 public:
  class Listener {
   public:
    /// From the loop: STREAM is ready, and somebody shall see to it.
    virtual void OnResume(GuestStream& stream) = 0;
    /// All of STREAM's answer is sent, but its request is not complete. What still comes of it is
    /// thrown away; Reset() STREAM with NO_ERROR if its end does not come. From inside of Send().
    /// May not reset it now.
    virtual void OnLingering(GuestStream& stream) = 0;
    /// STREAM is over, answered or not, and about to be destroyed. From inside of Receive() or
    /// Send().
    virtual void OnClosed(GuestStream& stream) = 0;

   protected:
    ~Listener() = default;
  };
  /// Why a connection was ended by us.
  struct Fault {
    uint32_t code = 0;  ///< Of RFC 9113, 7.
    std::string detail;
  };

  /// SCHEME is a literal.
  GuestCodec(std::string_view scheme, Clock::time_point now, Listener& listener);
  ~GuestCodec();
  GuestCodec(const GuestCodec&) = delete;
  GuestCodec& operator=(const GuestCodec&) = delete;

  /// Takes all of BYTES. Nothing any more after a fault.
  void Receive(std::string_view bytes, Clock::time_point now);
  /// The next bytes to send, at most a frame; empty when there are none now. Good until the next
  /// call.
  std::string_view Send();

  /// Streams that may go on since the last call: a head, a body's piece, room.
  std::vector<int32_t> TakeReady();
  bool has_ready() const { return !ready_.empty(); }
  void MarkReady(GuestStream& stream);
  /// Null when it is over.
  GuestStream* Find(int32_t id);

  /// Whether the first frame has arrived.
  bool begun() const { return begun_; }
  /// The stream whose head is arriving in several frames now; 0 for none.
  int32_t head_under_way() const { return head_under_way_; }

  /// Ends STREAM with CODE.
  void Reset(GuestStream& stream, uint32_t code);
  /// Ends the connection, with a GOAWAY that says CODE; only Send() does anything then.
  void Terminate(uint32_t code);
  const std::optional<Fault>& fault() const { return fault_; }
  /// Nothing will be received or sent any more, once Send() has returned nothing.
  bool over() const;

 private:
  friend class GuestStream;
  friend struct GuestCodecCallbacks;

  // GuestStream's needs.
  void OpenWindow(GuestStream& stream, size_t bytes);
  void SubmitInterim(GuestStream& stream, const ResponseHead& head);
  void Settle(GuestStream& stream);
  void Resume(GuestStream& stream);

  void SettleNow(GuestStream& stream);
  void SubmitHead(GuestStream& stream);
  bool OnFrameHeader(const nghttp2_frame_hd& header);
  void OnFrame(const nghttp2_frame& frame);
  void OnSent(const nghttp2_frame& frame);
  void Linger(GuestStream& stream);
  void Discard(GuestStream& stream, size_t bytes);
  int64_t Provide(GuestStream& stream, uint8_t* to, size_t max, uint32_t* flags);
  void OnStreamClosed(int32_t id);
  void Fail(uint32_t code, std::string detail);

  const std::string_view scheme_;
  Listener& listener_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::unique_ptr<GuestStream>> streams_;
  std::vector<int32_t> ready_;
  std::vector<int32_t> unsettled_;
  FloodGuard guard_;
  Clock::time_point now_;
  bool begun_ = false;
  int32_t head_under_way_ = 0;
  std::optional<Fault> fault_;
  bool deaf_ = false;  // Nothing is received any more.
};

/// The name of an error code of RFC 9113, 7.
std::string_view ErrorName(uint32_t code);

}  // namespace sallyport::mitm::http2
