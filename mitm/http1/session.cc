#include "mitm/http1/session.h"

#include <utility>

#include "mitm/http1/writer.h"
#include "mitm/limits.h"

// States: kServing while requests are read and answered; kDraining when no further request will be
// answered, the answer is on its way, and what the guest still sends is thrown away so that no
// reset overtakes the answer; kOver.
//
// Every event ends in Run(), which goes as far as it can and then hands everything that was
// written to the layer below at once.

namespace sallyport::mitm::http1 {
namespace {

// Requests answered in one turn, when a guest sends them faster than it reads.
constexpr int kRequestsPerTurn = 32;

RequestParser::Scheme SchemeOf(const FlowContext& flow) {
  return flow.tls.encrypted ? RequestParser::Scheme::kHttps : RequestParser::Scheme::kHttp;
}

}  // namespace

Session::Session(FlowContext& flow, Stream& stream, std::string_view already_read, Owner& owner)
    : flow_(flow),
      stream_(stream),
      owner_(owner),
      input_(flow.gate().loop.blocks(), already_read),
      output_(stream),
      parser_(SchemeOf(flow)),
      deadline_(flow.gate().loop, [this] { OnDeadline(); }) {
  stream_.SetListener(this);
}

Session::~Session() {
  stream_.SetListener(nullptr);
}

void Session::Run() {
  if (state_ == State::kServing) Serve();
  if (state_ == State::kDraining) Drain();
  input_.Shrink();
  if (state_ == State::kOver) return owner_.OnSessionOver();  // Destroys this.
  output_.Drain();
  stream_.Flush();
}

void Session::Serve() {
  for (int begun = 0; state_ == State::kServing;) {
    if (!exchange_) {
      if (begun++ == kRequestsPerTurn) {
        again_ = flow_.gate().loop.Post([this] { Run(); });
        return;
      }
      if (!BeginExchange()) return;
    }
    exchange_->Pump();
    if (!exchange_->finished()) return WatchGuest();
    EndExchange();
  }
}

/// Reads the next head; false when there is none yet, or never will be.
bool Session::BeginExchange() {
  if (Room() == 0) {
    // The guest asks faster than it reads, or is gone.
    deadline_.Set(kKeepAliveTimeout);
    if (input_.FillMore(stream_) == ReadResult::Kind::kBroken) state_ = State::kOver;
    return false;
  }
  for (;;) {
    switch (parser_.Next(input_.rest(), 0).kind) {
      case MessageEvent::Kind::kHead:
        StartExchange(std::nullopt);
        return true;
      case MessageEvent::Kind::kError:
        StartExchange(Refusal{.reason = parser_.error().not_http ? Reason::kNotHttp
                                                                 : Reason::kBadRequest,
                              .status = parser_.error().status,
                              .detail = "the request is not valid HTTP: " + parser_.error().detail,
                              .rule = {},
                              .how_to_allow = {}});
        return true;
      default:
        break;
    }
    switch (input_.Fill(stream_)) {
      case ReadResult::Kind::kBytes:
        break;
      case ReadResult::Kind::kWouldBlock:
        Wait();
        return false;
      case ReadResult::Kind::kEnd:
      case ReadResult::Kind::kBroken:
        CloseAfterAnswer();
        return false;
    }
  }
}

void Session::StartExchange(std::optional<Refusal> refusal) {
  unreadable_ = refusal.has_value();
  body_read_ = close_after_ = bodiless_ = chunked_ = waiting_in_head_ = false;
  Request request = refusal ? Request{} : std::move(parser_.request());
  to_head_ = request.head.method == "HEAD";
  if (refusal) {
    exchange_ = std::make_unique<Exchange>(flow_, *this, deadline_, std::move(request),
                                           std::move(*refusal));
    return;
  }
  if (request.body.empty()) (void)ReadBody(0);  // Nothing follows, so the request is complete.
  exchange_ = std::make_unique<Exchange>(flow_, *this, deadline_, std::move(request));
}

void Session::EndExchange() {
  exchange_.reset();
  if (close_after_ || !body_read_) CloseAfterAnswer();
}

/// No request is read any more.
void Session::CloseAfterAnswer() {
  if (state_ != State::kServing) return;
  state_ = State::kDraining;
  deadline_.Set(write_closed_ ? kDrainTimeout : kResponseBodyTimeout);
}

/// Notices a guest that goes away while it waits for its answer. What it sends instead of leaving
/// is its next request, and stays in the input; one that fills the input so is noticed later, by
/// the exchange's deadline.
void Session::WatchGuest() {
  // A WebSocket reads all there is, and would not be told of what was read here.
  if (!body_read_ || exchange_->switched()) return;
  if (input_.FillMore(stream_) == ReadResult::Kind::kBroken) {
    exchange_->Abandon();
    exchange_.reset();
    state_ = State::kOver;
  }
}

/// Sets the deadline for the next head, once when its first byte is there.
void Session::Wait() {
  if (!parser_.in_head()) {
    deadline_.Set(kKeepAliveTimeout);
  } else if (!waiting_in_head_) {
    waiting_in_head_ = true;
    deadline_.Set(kHeadTimeout);
  }
}

MessageEvent Session::ReadBody(size_t max) {
  if (body_read_) return {MessageEvent::Kind::kEnd, {}};
  if (unreadable_) return {MessageEvent::Kind::kError, {}};
  for (;;) {
    const MessageEvent event = parser_.Next(input_.rest(), max);
    if (event.kind == MessageEvent::Kind::kEnd) body_read_ = true;
    if (event.kind == MessageEvent::Kind::kError) unreadable_ = true;
    if (event.kind != MessageEvent::Kind::kWouldBlock) return event;
    switch (input_.Fill(stream_)) {
      case ReadResult::Kind::kBytes:
        break;
      case ReadResult::Kind::kWouldBlock:
        return {};
      case ReadResult::Kind::kEnd:
      case ReadResult::Kind::kBroken:
        return {MessageEvent::Kind::kBroken, {}};
    }
  }
}

size_t Session::Room() {
  const size_t room = output_.Room();
  return room >= kMinRoom ? room - kChunkOverhead : 0;
}

void Session::WriteInterim(const ResponseHead& head) {
  if (parser_.minor_version() == 0) return;
  std::string bytes;
  AppendResponseHead(head, {}, Delimiter::kLength, Connection::kKeepAlive, bytes);
  output_.Write(bytes);
}

void Session::WriteHead(const ResponseHead& head, BodyLength body) {
  bodiless_ = to_head_ || head.status == 101 || head.status == 204 || head.status == 304;
  // An answer that ended with its head, as HTTP/2 can say it.
  if (!bodiless_ && body.kind == BodyLength::Kind::kNone) body.kind = BodyLength::Kind::kKnown;
  Delimiter delimiter = Delimiter::kLength;
  if (body.kind == BodyLength::Kind::kUnknown) {
    delimiter = parser_.minor_version() > 0 ? Delimiter::kChunked : Delimiter::kClose;
  }
  chunked_ = delimiter == Delimiter::kChunked && !bodiless_;
  // An answer to a request that is not complete ends the connection: where the next one would begin
  // is only known if the guest sends all of this one.
  close_after_ = !body_read_ || unreadable_ || !parser_.keep_alive() ||
                 (delimiter == Delimiter::kClose && !bodiless_) || head.status == 101;
  std::string bytes;
  bytes.reserve(512);
  AppendResponseHead(head, body, delimiter,
                     close_after_ ? Connection::kClose : Connection::kKeepAlive, bytes);
  output_.Write(bytes);
}

void Session::WriteBody(std::string_view piece) {
  if (bodiless_) return;
  if (!chunked_) return output_.Write(piece);
  char buffer[kChunkOverhead];
  output_.Write(ChunkStart(piece.size(), buffer));
  output_.Write(piece);
  output_.Write(kChunkEnd);
}

void Session::WriteEnd(const Headers& trailers) {
  if (!chunked_) return;
  std::string bytes;
  AppendLastChunk(trailers, bytes);
  output_.Write(bytes);
}

void Session::Break() {
  stream_.Abort();
  state_ = State::kOver;
}

void Session::OnStreamReady() {
  Run();
}

void Session::OnDeadline() {
  if (exchange_) {
    exchange_->OnDeadline();
  } else if (state_ == State::kDraining) {
    state_ = State::kOver;
  } else if (parser_.in_head()) {
    StartExchange(Refusal{.reason = Reason::kBadRequest,
                          .status = 408,
                          .detail = "the request's head did not arrive in time",
                          .rule = {},
                          .how_to_allow = {}});
  } else {
    state_ = State::kOver;
  }
  Run();
}

/// Ends our direction once the layers below have taken the answer: a TLS stream that is destroyed
/// before can't deliver its last record. With room for a whole block none is left in it.
void Session::CloseWrite() {
  stream_.Flush();
  if (stream_.Room() < kInputBlock) return;
  write_closed_ = true;
  stream_.CloseWrite();
  deadline_.Set(kDrainTimeout);
}

void Session::Drain() {
  if (!write_closed_ && output_.Drain()) CloseWrite();
  for (;;) {
    drained_ += input_.rest().size();
    input_.rest() = {};
    if (drained_ > kDrainBytes) break;
    const ReadResult::Kind kind = input_.Fill(stream_);
    if (kind == ReadResult::Kind::kWouldBlock) return;
    if (kind == ReadResult::Kind::kBytes) continue;
    if (kind == ReadResult::Kind::kEnd && !write_closed_) return;
    break;
  }
  state_ = State::kOver;
}

}  // namespace sallyport::mitm::http1
