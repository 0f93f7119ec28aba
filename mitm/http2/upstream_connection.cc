#include "mitm/http2/upstream_connection.h"

#include <malloc.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "base/check.h"
#include "mitm/http1/fields.h"
#include "mitm/limits.h"
#include "mitm/tls_stream.h"
#include "secrets/secret.h"

// nghttp2 frames and checks; this moves its bytes and hands out its events.
//
// Receive: a block of input -> nghttp2 -> callbacks, which only change UpstreamStreams and note who
// is to be told -> Send (acknowledgements, windows) -> the listeners, outside of nghttp2.
// Send: while the stream below has room, one frame after the other. DATA is written from the
// UpstreamStream's own buffer, other frames from nghttp2's, which is wiped behind them.
//
// Flow control of the server's DATA is opened by what the exchanges read (Consume), so a guest that
// reads slowly holds up its own stream at kUpstreamStreamWindow, and its connection only when
// sixteen such streams are full.
//
// Secrets: fields are never-indexed literals, so that no table of either side keeps them and no
// intermediary of the server's may; nghttp2 allocates through WipingMemory, so what it copied is
// overwritten when it frees it.

namespace sallyport::mitm::http2 {
namespace {

// A head of kMaxHeadBytes in which placeholders became secrets, as literals.
constexpr size_t kMaxSentHeadBytes = 512 * 1024;

constexpr char kClosed[] = "the server closed the connection before its answer was complete";
constexpr char kBroke[] = "the server broke the rules of HTTP/2";
constexpr char kFlood[] = "the server floods the connection with frames that carry nothing";

struct WipingMemory {
  static void* Allocate(size_t size, void*) noexcept { return std::malloc(size); }
  static void* AllocateZeroed(size_t count, size_t size, void*) noexcept {
    return std::calloc(count, size);
  }
  static void Free(void* block, void*) noexcept {
    if (block == nullptr) return;
    secrets::WipeBytes(block, malloc_usable_size(block));
    std::free(block);
  }
  static void* Reallocate(void* block, size_t size, void*) noexcept {
    void* larger = std::malloc(size);
    if (larger == nullptr || block == nullptr) return larger;
    std::memcpy(larger, block, std::min(size, malloc_usable_size(block)));
    Free(block, nullptr);
    return larger;
  }
};

nghttp2_nv Literal(std::string_view name, std::string_view value, uint8_t flags) {
  const auto bytes = [](std::string_view text) {
    return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), flags};
}

// RFC 9113, 8.2.1: no white space around a value.
std::string_view Trimmed(std::string_view value) {
  const size_t begin = value.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
}

std::string Named(uint32_t code) {
  return std::string(" (") + nghttp2_http2_strerror(code) + ")";
}

/// The fields of a request as nghttp2 takes them; they point into what they were made of.
std::vector<nghttp2_nv> FieldsOf(const RequestHead& head, std::string_view host,
                                 const std::string& target, std::string_view length) {
  std::vector<nghttp2_nv> fields;
  fields.reserve(head.headers.fields().size() + 5);
  fields.push_back(Literal(":method", head.method, NGHTTP2_NV_FLAG_NONE));
  fields.push_back(Literal(":scheme", head.scheme, NGHTTP2_NV_FLAG_NONE));
  fields.push_back(Literal(":authority", host, NGHTTP2_NV_FLAG_NONE));
  // From here on, everything may be a credential, or hold a secret that was put in.
  fields.push_back(Literal(":path", target, NGHTTP2_NV_FLAG_NO_INDEX));
  for (const HeaderField& field : head.headers.fields()) {
    const std::string_view value = Trimmed(field.value);
    if (http1::IsHopField(field.name)) {
      const bool trailers =
          EqualsIgnoreCase(field.name, "te") && EqualsIgnoreCase(value, "trailers");
      if (!trailers && !EqualsIgnoreCase(field.name, "trailer")) continue;
    }
    fields.push_back(Literal(field.name, value, NGHTTP2_NV_FLAG_NO_INDEX));
  }
  if (!length.empty()) {
    fields.push_back(Literal("content-length", length, NGHTTP2_NV_FLAG_NO_INDEX));
  }
  return fields;
}

/// Never indexed, as the fields of heads.
std::vector<nghttp2_nv> TrailersOf(const Headers& trailers) {
  std::vector<nghttp2_nv> fields;
  for (const HeaderField& field : trailers.fields()) {
    fields.push_back(Literal(field.name, Trimmed(field.value), NGHTTP2_NV_FLAG_NO_INDEX));
  }
  return fields;
}

}  // namespace

/// The functions that nghttp2 calls.
struct UpstreamCallbacks {
  static UpstreamConnection& Self(void* user_data) {
    return *static_cast<UpstreamConnection*>(user_data);
  }

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd*, void* user_data) noexcept {
    return Self(user_data).CountControlFrame() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  /// The stream's answer is not taken; nghttp2 resets the stream.
  static int Reject(UpstreamConnection& self, UpstreamStream& stream, const char* detail) {
    stream.Fail(UpstreamStream::Over::kInvalid, detail);
    self.Tell(stream);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    UpstreamStream* stream = self.Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const char* wrong = stream->OnField({reinterpret_cast<const char*>(name), name_size},
                                        {reinterpret_cast<const char*>(value), value_size});
    return wrong == nullptr ? 0 : Reject(self, *stream, wrong);
  }

  static int OnInvalidHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t*, size_t,
                             const uint8_t*, size_t, uint8_t, void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    UpstreamStream* stream = self.Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    return Reject(self, *stream, "a field has characters that are not allowed there");
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes,
                    size_t size, void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    if (size > 0) self.control_frames_ = 0;
    if (UpstreamStream* stream = self.Find(id)) {
      stream->OnData({reinterpret_cast<const char*>(bytes), size});
      self.Tell(*stream);
    } else {
      nghttp2_session_consume(session, id, size);
    }
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame,
                     void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    switch (frame->hd.type) {
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) self.OnSettled();
        return 0;
      case NGHTTP2_GOAWAY:
        self.retired_ = true;
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
          self.fatal_ = "the server ended the connection" + Named(frame->goaway.error_code);
        }
        self.owner_.OnUpstreamChanged();
        return 0;
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
      case NGHTTP2_RST_STREAM:
        if (UpstreamStream* stream = self.Find(frame->hd.stream_id)) {
          return OnFrameOf(self, session, *stream, *frame);
        }
        return 0;
      default:
        return 0;
    }
  }

  static int OnFrameOf(UpstreamConnection& self, nghttp2_session* session, UpstreamStream& stream,
                       const nghttp2_frame& frame) {
    if (frame.hd.type == NGHTTP2_RST_STREAM) {
      stream.reset_by_server_ = true;
      return 0;
    }
    const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame.hd.type == NGHTTP2_HEADERS) {
      using Stream = ResponseReader::Stream;
      self.control_frames_ = 0;
      self.answered_ = true;
      if (const char* wrong = stream.OnHead(ends ? Stream::kEnds : Stream::kGoesOn)) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_PROTOCOL_ERROR);
        stream.Fail(UpstreamStream::Over::kInvalid, wrong);
      }
    }
    if (ends) stream.OnEnd();
    if (ends || frame.hd.type == NGHTTP2_HEADERS) self.Tell(stream);
    return 0;
  }

  static int OnStreamClose(nghttp2_session*, int32_t id, uint32_t code, void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    UpstreamStream* stream = self.Find(id);
    if (stream == nullptr) return 0;
    stream->OnClosed(code);
    self.Tell(*stream);
    return 0;
  }

  static int OnFrameSent(nghttp2_session*, const nghttp2_frame* frame, void* user_data) noexcept {
    UpstreamConnection& self = Self(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
      self.fatal_ = kBroke + Named(frame->goaway.error_code);
    }
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (UpstreamStream* stream = self.Find(frame->hd.stream_id)) stream->unprocessed_ = false;
    return 0;
  }

  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int,
                            void* user_data) noexcept {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    UpstreamConnection& self = Self(user_data);
    UpstreamStream* stream = self.Find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    // Its trailers come behind what the server may have taken.
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) stream->unprocessed_ = true;
    stream->Fail(UpstreamStream::Over::kBroken, "the request could not be sent by HTTP/2");
    self.Tell(*stream);
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session* session, int32_t id, uint8_t*, size_t size, uint32_t* flags,
                          nghttp2_data_source*, void* user_data) noexcept {
    UpstreamStream* stream = Self(user_data).Find(id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t unsent = stream->unsent().size();
    if (unsent == 0 && !stream->output_ended_) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (unsent <= size && stream->output_ended_) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      const std::vector<nghttp2_nv> trailers = TrailersOf(stream->output_trailers_);
      if (!trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, trailers.data(), trailers.size()) != 0) {
          return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
      }
    }
    return static_cast<ssize_t>(std::min(size, unsent));
  }

  static int SendBody(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
                      nghttp2_data_source*, void* user_data) noexcept {
    constexpr size_t kFrameHead = 9;
    UpstreamConnection& self = Self(user_data);
    UpstreamStream* stream = self.Find(frame->hd.stream_id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (self.output_->Room() == 0) return NGHTTP2_ERR_WOULDBLOCK;
    self.output_->Write({reinterpret_cast<const char*>(head), kFrameHead});
    self.output_->Write(stream->unsent().substr(0, size));
    stream->Sent(size);
    self.control_frames_ = 0;
    if (stream->wants_room_) self.Tell(*stream);
    return 0;
  }

  static nghttp2_session* NewSession(UpstreamConnection& self) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    nghttp2_session* session = nullptr;
    SALLYPORT_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    SALLYPORT_CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, OnBeginFrame);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, OnInvalidHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnFrameSent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, OnFrameNotSent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, SendBody);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, kMaxSentHeadBytes);
    nghttp2_mem memory{nullptr, WipingMemory::Allocate, WipingMemory::Free,
                       WipingMemory::AllocateZeroed, WipingMemory::Reallocate};
    SALLYPORT_CHECK(nghttp2_session_client_new3(&session, callbacks, &self, option, &memory) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
  }
};

void UpstreamConnection::SessionDeleter::operator()(nghttp2_session* session) const noexcept {
  nghttp2_session_del(session);
}

UpstreamConnection::UpstreamConnection(Loop& loop, std::unique_ptr<Stream> stream, Endpoint peer,
                                       Owner& owner)
    : loop_(loop),
      owner_(owner),
      peer_(peer),
      stream_(std::move(stream)),
      input_(loop.blocks()),
      session_(UpstreamCallbacks::NewSession(*this)),
      heard_at_(loop.now()),
      deadline_(loop, [this] { OnDeadline(); }),
      turn_flush_(loop, [this] { Send(); }) {
  output_.emplace(*stream_);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kUpstreamStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeadBytes},
  };
  nghttp2_submit_settings(session_.get(), NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_.get(), NGHTTP2_FLAG_NONE, 0,
                                        kUpstreamConnectionWindow);
  stream_->SetListener(this);
  deadline_.Set(kUpstreamHandshakeTimeout);
  turn_flush_.Arm();
}

UpstreamConnection::~UpstreamConnection() {
  SALLYPORT_CHECK(exchanges_ == 0);
  if (!session_) return;
  stream_->SetListener(nullptr);
  SendGoodbye();
}

bool UpstreamConnection::HasRoom() const {
  if (!session_ || retired_) return false;
  if (!settled_) return exchanges_ == 0;
  const uint32_t allowed =
      nghttp2_session_get_remote_settings(session_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return exchanges_ < std::min<size_t>(allowed, kMaxUpstreamStreams);
}

std::unique_ptr<UpstreamSide> UpstreamConnection::Open(UpstreamSide::Listener& listener) {
  ++exchanges_;
  if (settled_) deadline_.Clear();
  return std::make_unique<UpstreamStream>(*this, listener);
}

void UpstreamConnection::Retire() {
  retired_ = true;
  owner_.OnUpstreamChanged();
}

void UpstreamConnection::Submit(UpstreamStream& stream, const RequestHead& head,
                                std::string_view host, BodyLength body) {
  stream.begun_at_ = loop_.now();
  stream.on_used_connection_ = answered_;
  stream.unprocessed_ = true;  // Until its head is on the way.
  if (!session_ || retired_) {
    stream.Fail(UpstreamStream::Over::kBroken, "the server closed the connection");
    return Tell(stream);
  }
  char digits[20];
  std::string_view length;
  if (body.kind == BodyLength::Kind::kKnown) {
    length = {digits, std::to_chars(digits, digits + sizeof digits, body.bytes).ptr};
  }
  std::string target = head.Target();
  const std::vector<nghttp2_nv> fields = FieldsOf(head, host, target, length);
  nghttp2_data_provider provider{};
  provider.read_callback = UpstreamCallbacks::ReadBody;
  const int32_t id = nghttp2_submit_request(session_.get(), nullptr, fields.data(), fields.size(),
                                            body.empty() ? nullptr : &provider, nullptr);
  secrets::WipeString(target);
  if (id < 0) {  // The numbers of streams are used up.
    Retire();
    stream.Fail(UpstreamStream::Over::kBroken, "the connection carries no more requests");
    return Tell(stream);
  }
  stream.id_ = id;
  stream.output_ended_ = body.empty();
  streams_.emplace(id, &stream);
  turn_flush_.Arm();
}

void UpstreamConnection::Resume(UpstreamStream& stream) {
  if (!session_ || stream.closed_) return;
  // An error only says that it was not waiting.
  (void)nghttp2_session_resume_data(session_.get(), stream.id_);
  turn_flush_.Arm();
}

void UpstreamConnection::Consume(UpstreamStream& stream, size_t size) {
  if (!session_) return;
  nghttp2_session_consume(session_.get(), stream.id_, size);
  turn_flush_.Arm();
}

void UpstreamConnection::Leave(UpstreamStream& stream) {
  streams_.erase(stream.id_);
  std::erase(ready_, &stream);
  std::erase(telling_, &stream);
  --exchanges_;
  if (session_ && stream.id_ != 0) {
    const size_t unread = stream.input_.size() - stream.taken_;
    if (unread > 0) nghttp2_session_consume_connection(session_.get(), unread);
    if (!stream.closed_) {
      nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_CANCEL);
      // nghttp2 keeps the head until its turn to be sent comes.
      if (stream.unprocessed_ && ++kept_heads_ > kMaxUpstreamStreams) retired_ = true;
    }
    const auto silent_since = std::max(heard_at_, stream.begun_at_);
    if (!stream.received_ && loop_.now() - silent_since >= kUpstreamSilence) retired_ = true;
    turn_flush_.Arm();
  }
  if (exchanges_ == 0 && session_ && settled_) deadline_.Set(kUpstreamIdleTimeout);
  owner_.OnUpstreamChanged();
}

UpstreamStream* UpstreamConnection::Find(int32_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void UpstreamConnection::OnStreamReady() {
  Receive();
  Send();
  TellListeners();
}

void UpstreamConnection::Receive() {
  for (size_t budget = kTurnBudget; session_; budget -= std::min(budget, kInputBlock)) {
    if (budget == 0) {
      again_ = loop_.Post([this] { OnStreamReady(); });
      break;
    }
    const ReadResult::Kind kind = input_.Fill(*stream_);
    if (kind == ReadResult::Kind::kWouldBlock) break;
    if (kind != ReadResult::Kind::kBytes) {
      const std::string alert = FinalAlert(*stream_);
      Break(!fatal_.empty() ? fatal_ : !alert.empty() ? alert : kClosed);
      break;
    }
    heard_at_ = loop_.now();
    const std::string_view bytes = std::exchange(input_.rest(), {});
    const ssize_t used = nghttp2_session_mem_recv(
        session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    if (used == NGHTTP2_ERR_FLOODED) fatal_ = kFlood;
    if (used < 0) Break(fatal_.empty() ? kBroke : fatal_);
  }
  input_.Shrink();
}

void UpstreamConnection::Send() {
  while (session_ && output_->Room() > 0) {
    const uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size < 0) return Break("nghttp2 failed");
    if (size == 0) {
      kept_heads_ = 0;
      break;
    }
    output_->Write({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
    // It is nghttp2's buffer, which it goes on to overwrite at its next frame, perhaps much later.
    secrets::WipeBytes(const_cast<uint8_t*>(bytes), static_cast<size_t>(size));
  }
  if (!session_) return;
  output_->Drain();
  stream_->Flush();
  CheckOver();
}

/// Whether nghttp2 has given the connection up, or both sides have said goodbye.
void UpstreamConnection::CheckOver() {
  if (nghttp2_session_want_read(session_.get()) != 0 ||
      nghttp2_session_want_write(session_.get()) != 0) {
    return;
  }
  Break(fatal_.empty() ? "the server ended the connection" : fatal_);
}

void UpstreamConnection::SendGoodbye() {
  nghttp2_session_terminate_session(session_.get(), NGHTTP2_NO_ERROR);
  while (output_->Room() > 0) {
    const uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_.get(), &bytes);
    if (size <= 0) return;
    output_->Write({reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)});
  }
}

/// The connection is dead: every exchange that is not complete ends with DETAIL. Never from inside
/// nghttp2.
void UpstreamConnection::Break(std::string detail) {
  for (const auto& [id, stream] : streams_) {
    stream->Fail(UpstreamStream::Over::kBroken, detail);
    Tell(*stream);
  }
  session_.reset();
  output_.reset();
  stream_->SetListener(nullptr);
  stream_.reset();
  input_.rest() = {};
  again_ = {};
  deadline_.Clear();
  owner_.OnUpstreamChanged();
}

void UpstreamConnection::OnDeadline() {
  if (!settled_) {
    fatal_ = "the server agreed on HTTP/2, but did not speak it in time";
    Break(fatal_);
  } else if (exchanges_ == 0) {
    Retire();
  }
}

void UpstreamConnection::OnSettled() {
  if (!settled_) {
    settled_ = true;
    if (exchanges_ > 0) {
      deadline_.Clear();
    } else {
      deadline_.Set(kUpstreamIdleTimeout);
    }
  }
  owner_.OnUpstreamChanged();
}

/// STREAM's listener is told, once, when nghttp2 has returned.
void UpstreamConnection::Tell(UpstreamStream& stream) {
  if (std::exchange(stream.told_, true)) return;
  ready_.push_back(&stream);
  if (!tell_) tell_ = loop_.Post([this] { TellListeners(); });
}

void UpstreamConnection::TellListeners() {
  tell_ = {};
  // Who is told may leave, and may take others with it.
  telling_ = std::exchange(ready_, {});
  while (!telling_.empty()) {
    UpstreamStream& stream = *telling_.front();
    telling_.pop_front();
    stream.told_ = false;
    stream.listener_.OnUpstreamReady();
  }
}

bool UpstreamConnection::CountControlFrame() {
  if (++control_frames_ <= kMaxControlFrames) return true;
  fatal_ = kFlood;
  return false;
}

}  // namespace sallyport::mitm::http2
