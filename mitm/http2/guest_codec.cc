#include "mitm/http2/guest_codec.h"

#include <array>
#include <utility>

#include "base/check.h"
#include "mitm/limits.h"

// nghttp2 keeps frames, HPACK, windows and the order of sending; this keeps messages and limits.
//
// - nghttp2's checks of messages are off: they answer with a reset where a guest can be told what
//   is wrong, and drop some malformed fields without a word. RequestFields checks them all.
// - Windows open only as the exchange reads (no automatic updates); bytes of streams that are over
//   count as read.
// - RFC 7540's priorities are declined, so that there is no tree to build for a guest.
// - Limits end the connection with ENHANCE_YOUR_CALM: see FloodGuard, kMaxDecodedBytes,
//   kMaxQueuedFrames, and nghttp2's own for CONTINUATION frames. More streams than kMaxStreams are
//   nghttp2's to refuse.
// - No callback of nghttp2's runs but inside of nghttp2_session_mem_recv and _mem_send, so streams
//   are destroyed in Receive() and Send() only.

namespace sallyport::mitm::http2 {

struct GuestCodecCallbacks {
  static GuestCodec& Of(void* user_data) { return *static_cast<GuestCodec*>(user_data); }

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd* header,
                          void* user_data) noexcept {
    return Of(user_data).OnFrameHeader(*header) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame,
                            void* user_data) noexcept {
    GuestCodec& codec = Of(user_data);
    const int32_t id = frame->hd.stream_id;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      codec.streams_.emplace(
          id, std::unique_ptr<GuestStream>(new GuestStream(codec, id, codec.scheme_)));
    }
    return 0;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user_data) noexcept {
    GuestCodec& codec = Of(user_data);
    GuestStream* stream = codec.Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    stream->OnField({reinterpret_cast<const char*>(name), name_size},
                    {reinterpret_cast<const char*>(value), value_size});
    if (stream->decoded_ <= kMaxDecodedBytes) return 0;
    codec.Fail(NGHTTP2_ENHANCE_YOUR_CALM, "a head that is far too large once it is decoded");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int OnFrameReceived(nghttp2_session*, const nghttp2_frame* frame,
                             void* user_data) noexcept {
    GuestCodec& codec = Of(user_data);
    codec.OnFrame(*frame);
    return codec.fault_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user_data) noexcept {
    GuestCodec& codec = Of(user_data);
    GuestStream* stream = codec.Find(id);
    if (stream != nullptr && stream->lingers_) {
      codec.Discard(*stream, size);
    } else if (stream != nullptr) {
      stream->OnData({reinterpret_cast<const char*>(data), size});
      codec.MarkReady(*stream);
    }
    return 0;
  }

  static int OnStreamClosed(nghttp2_session*, int32_t id, uint32_t, void* user_data) noexcept {
    Of(user_data).OnStreamClosed(id);
    return 0;
  }

  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* user_data) noexcept {
    Of(user_data).OnSent(*frame);
    return 0;
  }

  /// A head that nghttp2 can't send leaves its stream open for ever otherwise.
  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int,
                            void* user_data) noexcept {
    GuestCodec& codec = Of(user_data);
    GuestStream* stream = codec.Find(frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_HEADERS && stream != nullptr) {
      codec.Reset(*stream, NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
  }

  static ssize_t Provide(nghttp2_session*, int32_t, uint8_t* to, size_t max, uint32_t* flags,
                         nghttp2_data_source* source, void* user_data) noexcept {
    return static_cast<ssize_t>(
        Of(user_data).Provide(*static_cast<GuestStream*>(source->ptr), to, max, flags));
  }

  /// The callbacks, the same for all sessions.
  static const nghttp2_session_callbacks* Table() {
    static const nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* made = nullptr;
      SALLYPORT_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, OnBeginFrame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(made, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, OnFrameReceived);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, OnData);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, OnStreamClosed);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, OnFrameSent);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(made, OnFrameNotSent);
      return made;
    }();
    return table;
  }

  static const nghttp2_option* Options() {
    static const nghttp2_option* const options = [] {
      nghttp2_option* made = nullptr;
      SALLYPORT_CHECK(nghttp2_option_new(&made) == 0);
      nghttp2_option_set_no_auto_window_update(made, 1);
      nghttp2_option_set_no_http_messaging(made, 1);
      nghttp2_option_set_no_closed_streams(made, 1);
      nghttp2_option_set_max_send_header_block_length(made, kMaxSentHead);
      return made;
    }();
    return options;
  }
};

GuestCodec::GuestCodec(std::string_view scheme, Clock::time_point now, Listener& listener)
    : scheme_(scheme), listener_(listener), guard_(now), now_(now) {
  // These fail for want of memory only.
  SALLYPORT_CHECK(nghttp2_session_server_new2(&session_, GuestCodecCallbacks::Table(), this,
                                              GuestCodecCallbacks::Options()) == 0);
  constexpr std::array<nghttp2_settings_entry, 4> kSettings{{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeadBytes},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  SALLYPORT_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, kSettings.data(),
                                          kSettings.size()) == 0);
  SALLYPORT_CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                        static_cast<int32_t>(kConnectionWindow)) ==
                  0);
}

GuestCodec::~GuestCodec() {
  nghttp2_session_del(session_);
}

void GuestCodec::Receive(std::string_view bytes, Clock::time_point now) {
  if (deaf_) return;
  now_ = now;
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0 && !fault_) {
    switch (taken) {
      case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return Fail(NGHTTP2_PROTOCOL_ERROR, "not the preface of HTTP/2");
      case NGHTTP2_ERR_FLOODED:
        return Fail(NGHTTP2_ENHANCE_YOUR_CALM, "too many frames that want an answer");
      case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        return Fail(NGHTTP2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
      default:
        return Fail(NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror(static_cast<int>(taken)));
    }
  }
  if (!fault_ && nghttp2_session_get_outbound_queue_size(session_) > kMaxQueuedFrames) {
    Fail(NGHTTP2_ENHANCE_YOUR_CALM, "too many frames wait for the client to read them");
  }
}

std::string_view GuestCodec::Send() {
  for (const int32_t id : std::exchange(unsettled_, {})) {
    if (GuestStream* stream = Find(id)) SettleNow(*stream);
  }
  // Once the last GOAWAY is sent, nghttp2 would still send what streams hold.
  if (nghttp2_session_want_write(session_) == 0) return {};
  const uint8_t* bytes = nullptr;
  const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
  if (size < 0) {
    Fail(NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(static_cast<int>(size)));
    return {};
  }
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)};
}

std::vector<int32_t> GuestCodec::TakeReady() {
  for (const int32_t id : ready_) {
    if (GuestStream* stream = Find(id)) stream->ready_ = false;
  }
  return std::exchange(ready_, {});
}

void GuestCodec::MarkReady(GuestStream& stream) {
  if (!stream.begun_ || std::exchange(stream.ready_, true)) return;
  ready_.push_back(stream.id_);
}

GuestStream* GuestCodec::Find(int32_t id) {
  const auto place = streams_.find(id);
  return place == streams_.end() ? nullptr : place->second.get();
}

bool GuestCodec::over() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

void GuestCodec::Reset(GuestStream& stream, uint32_t code) {
  stream.head_.reset();
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, code);
}

void GuestCodec::Terminate(uint32_t code) {
  deaf_ = true;
  nghttp2_session_terminate_session(session_, code);
}

void GuestCodec::Fail(uint32_t code, std::string detail) {
  if (fault_) return;
  fault_ = Fault{code, std::move(detail)};
  Terminate(code);
}

void GuestCodec::OpenWindow(GuestStream& stream, size_t bytes) {
  nghttp2_session_consume(session_, stream.id_, bytes);
}

void GuestCodec::SubmitInterim(GuestStream& stream, const ResponseHead& head) {
  const ResponseFields fields(head, {});
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, fields.data(),
                         fields.size(), nullptr);
}

/// Has what is new of the answer handed on when something is sent next.
void GuestCodec::Settle(GuestStream& stream) {
  if (std::exchange(stream.unsettled_, true)) return;
  unsettled_.push_back(stream.id_);
}

void GuestCodec::Resume(GuestStream& stream) {
  MarkReady(stream);
  listener_.OnResume(stream);  // May destroy both.
}

void GuestCodec::SettleNow(GuestStream& stream) {
  stream.unsettled_ = false;
  if (stream.head_) return SubmitHead(stream);
  nghttp2_session_resume_data(session_, stream.id_);  // Fails when it does not wait.
}

void GuestCodec::SubmitHead(GuestStream& stream) {
  const ResponseFields fields(*stream.head_, stream.body_);
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = GuestCodecCallbacks::Provide;
  const bool alone = stream.complete_ && stream.unsent() == 0 && stream.trailers_.fields().empty();
  const int result = nghttp2_submit_response(session_, stream.id_, fields.data(), fields.size(),
                                             alone ? nullptr : &provider);
  stream.head_.reset();
  if (result != 0) Reset(stream, NGHTTP2_INTERNAL_ERROR);
}

bool GuestCodec::OnFrameHeader(const nghttp2_frame_hd& header) {
  begun_ = true;
  if (header.type == NGHTTP2_HEADERS || header.type == NGHTTP2_CONTINUATION) {
    head_under_way_ = (header.flags & NGHTTP2_FLAG_END_HEADERS) != 0 ? 0 : header.stream_id;
  }
  if (guard_.OnFrame(header.type, header.flags, header.length, now_)) return true;
  Fail(NGHTTP2_ENHANCE_YOUR_CALM, guard_.detail());
  return false;
}

void GuestCodec::OnFrame(const nghttp2_frame& frame) {
  GuestStream* stream = Find(frame.hd.stream_id);
  if (stream == nullptr) return;
  const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      stream->OnHead(ends ? GuestStream::Ended::kYes : GuestStream::Ended::kNo);
      break;
    case NGHTTP2_DATA:
      if (ends) {
        stream->OnEnd();
      } else if (frame.hd.length > 0 && frame.hd.length == frame.data.padlen &&
                 !guard_.OnPadding(now_)) {
        return Fail(NGHTTP2_ENHANCE_YOUR_CALM, guard_.detail());
      }
      break;
    default:
      return;
  }
  MarkReady(*stream);
}

void GuestCodec::OnSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_GOAWAY && frame.goaway.error_code != NGHTTP2_NO_ERROR && !fault_) {
    // nghttp2 found it; its reason is what it says in the frame.
    const std::string reason(reinterpret_cast<const char*>(frame.goaway.opaque_data),
                             frame.goaway.opaque_data_len);
    fault_ = Fault{frame.goaway.error_code, reason.empty() ? "the frames are not valid" : reason};
    deaf_ = true;
  }
  if (frame.hd.type == NGHTTP2_DATA) guard_.OnDataSent(frame.hd.length);
  if (frame.hd.type != NGHTTP2_DATA && frame.hd.type != NGHTTP2_HEADERS) return;
  GuestStream* stream = Find(frame.hd.stream_id);
  if (stream == nullptr || (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  if (!stream->ended_) Linger(*stream);
}

/// RFC 9113, 8.1, allows a reset now. A client that is sending when it gets the answer and the
/// reset together may drop the answer (curl 7.88 does, and with it git): so it is read on until it
/// has used up a window that it was given after the answer, and so must have read that.
void GuestCodec::Linger(GuestStream& stream) {
  stream.lingers_ = true;
  listener_.OnLingering(stream);
  Discard(stream, stream.DropInput());
}

void GuestCodec::Discard(GuestStream& stream, size_t bytes) {
  nghttp2_session_consume_connection(session_, bytes);
  if (nghttp2_session_get_stream_local_window_size(session_, stream.id_) > 0) return;
  if (std::exchange(stream.window_reopened_, true)) return Reset(stream, NGHTTP2_NO_ERROR);
  nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, stream.id_, kStreamWindow);
}

int64_t GuestCodec::Provide(GuestStream& stream, uint8_t* to, size_t max, uint32_t* flags) {
  const size_t size = stream.TakeOutput(to, max);
  if (stream.starved_ && stream.unsent() <= kStreamOutput / 2) {
    stream.starved_ = false;
    MarkReady(stream);
  }
  if (stream.unsent() == 0 && stream.complete_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.trailers_.fields().empty()) {
      const ResponseFields trailers(stream.trailers_);
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      nghttp2_submit_trailer(session_, stream.id_, trailers.data(), trailers.size());
    }
    return static_cast<int64_t>(size);
  }
  if (size == 0) return NGHTTP2_ERR_DEFERRED;
  return static_cast<int64_t>(size);
}

void GuestCodec::OnStreamClosed(int32_t id) {
  const auto place = streams_.find(id);
  if (place == streams_.end()) return;
  const std::unique_ptr<GuestStream> stream = std::move(place->second);
  streams_.erase(place);
  nghttp2_session_consume_connection(session_, stream->unread());
  listener_.OnClosed(*stream);
}

std::string_view ErrorName(uint32_t code) {
  return nghttp2_http2_strerror(code);
}

}  // namespace sallyport::mitm::http2
