#include "mitm/http2/session.h"

#include <optional>
#include <string>
#include <utility>

#include "mitm/limits.h"

// States: kServing; kClosing once the last GOAWAY is on its way, when nothing is received any more
// and what still arrives is thrown away, so that no reset overtakes the GOAWAY; kOver.
//
// Every event ends in Run(), which takes rounds of: a block of input, the exchanges that may go on,
// output as far as there is room. Exchanges are destroyed when their stream is over, or with all
// others, never from inside of themselves.
//
// Deadlines: an exchange has its own, then its answer's delivery has (a guest that opens no window
// is reset, kResponseBodyTimeout), and the rest of a request whose answer came before it was
// complete (kDrainTimeout). The connection has one for the first frame and for a head under way,
// and one while there is no request.

namespace sallyport::mitm::http2 {
namespace {

// Rounds of one turn: kInputBlock of input and what follows from it in each.
constexpr int kRoundsPerTurn = 8;
// Requests that begin in one turn; others wait for the next.
constexpr int kRequestsPerTurn = 32;

constexpr std::string_view SchemeOf(bool encrypted) {
  return encrypted ? "https" : "http";
}

}  // namespace

Session::Request::Request(Gate& the_gate, std::function<void()> expired)
    : gate(the_gate), deadline(the_gate.loop, std::move(expired)) {
  ++gate.streams;
}

Session::Request::~Request() {
  --gate.streams;
}

Session::Session(FlowContext& flow, Stream& stream, std::string_view already_read, Owner& owner)
    : flow_(flow),
      stream_(stream),
      owner_(owner),
      input_(flow.gate().loop.blocks(), already_read),
      output_(stream),
      deadline_(flow.gate().loop, [this] { OnDeadline(); }),
      codec_(SchemeOf(flow.tls.encrypted), flow.gate().loop.now(), *this) {
  stream_.SetListener(this);
  deadline_.Set(kHeadTimeout);
}

Session::~Session() {
  stream_.SetListener(nullptr);
  if (state_ != State::kServing) return;
  codec_.Terminate(NGHTTP2_NO_ERROR);
  Send();
  stream_.Flush();
}

void Session::Run() {
  if (state_ == State::kServing) Serve();
  if (state_ == State::kClosing) FinishClosing();
  input_.Shrink();
  if (state_ == State::kOver) return owner_.OnSessionOver();  // Destroys this.
  Wait();
  output_.Drain();
  stream_.Flush();
}

void Session::Serve() {
  int begun = 0;
  for (int round = 0; state_ == State::kServing; ++round) {
    if (round == kRoundsPerTurn) {
      again_ = flow_.gate().loop.Post([this] { Run(); });
      return;
    }
    const bool received = Receive();
    if (state_ != State::kServing) return;
    PumpReady(begun);
    Send();
    if (codec_.fault()) return EndByFault();
    // A guest that ended its direction still gets what it asked for.
    const bool done = input_ended_ && requests_.empty() && !codec_.has_ready();
    if (done) codec_.Terminate(NGHTTP2_NO_ERROR);
    if (done || codec_.over()) return Close(kResponseBodyTimeout);
    if (!received && !codec_.has_ready()) return;
  }
}

/// Takes a block of input; whether there was one.
bool Session::Receive() {
  if (input_.empty()) {
    switch (input_.Fill(stream_)) {
      case ReadResult::Kind::kBytes:
        break;
      case ReadResult::Kind::kWouldBlock:
        return false;
      case ReadResult::Kind::kEnd:
        input_ended_ = true;
        return false;
      case ReadResult::Kind::kBroken:
        requests_.clear();
        state_ = State::kOver;
        return false;
    }
  }
  codec_.Receive(input_.rest(), flow_.gate().loop.now());
  input_.rest() = {};
  return true;
}

void Session::PumpReady(int& begun) {
  for (const int32_t id : codec_.TakeReady()) {
    GuestStream* stream = codec_.Find(id);
    if (stream == nullptr) continue;
    if (!requests_.contains(id)) {
      if (begun == kRequestsPerTurn) {
        codec_.MarkReady(*stream);
        continue;
      }
      ++begun;
      Begin(*stream);
    }
    if (const auto place = requests_.find(id); place != requests_.end()) {
      Pump(place->second);
    }
  }
}

void Session::Begin(GuestStream& stream) {
  Gate& gate = flow_.gate();
  if (gate.streams >= kMaxStreamsOfGate) {
    RecordFault(Reason::kLimit, "too many HTTP/2 requests are under way");
    return codec_.Reset(stream, NGHTTP2_REFUSED_STREAM);
  }
  const int32_t id = stream.id();
  auto& request =
      requests_.try_emplace(id, gate, [this, id] { OnRequestDeadline(id); }).first->second;
  if (const auto& error = stream.head_error()) {
    request.exchange = std::make_unique<Exchange>(
        flow_, stream, request.deadline, std::move(stream.request()),
        Refusal{.reason = Reason::kBadRequest,
                .status = error->status,
                .detail = "the request is not valid HTTP: " + error->detail,
                .rule = {},
                .how_to_allow = {}});
  } else {
    request.exchange =
        std::make_unique<Exchange>(flow_, stream, request.deadline, std::move(stream.request()));
  }
}

void Session::Pump(Request& request) {
  if (!request.exchange) return;
  request.exchange->Pump();
  if (!request.exchange->finished()) return;
  request.exchange.reset();
  request.deadline.Set(kResponseBodyTimeout);
}

void Session::Send() {
  while (output_.Room() >= kMinRoom) {
    const std::string_view bytes = codec_.Send();
    if (bytes.empty()) return;
    output_.Write(bytes);
  }
}

/// The exchange ends as it would with the stream.
void Session::OnLingering(GuestStream& stream) {
  const auto place = requests_.find(stream.id());
  if (place == requests_.end()) return;
  place->second.exchange.reset();
  place->second.deadline.Set(kDrainTimeout);
}

void Session::OnClosed(GuestStream& stream) {
  requests_.erase(stream.id());
}

/// Sets the connection's own deadline, when what it waits for has changed.
void Session::Wait() {
  if (state_ != State::kServing) return;
  Waiting now = Waiting::kNothing;
  const int32_t head = codec_.head_under_way();
  if (!codec_.begun()) {
    now = Waiting::kPreface;
  } else if (head != 0) {
    now = Waiting::kHead;
  } else if (requests_.empty()) {
    now = Waiting::kRequest;
  }
  if (now == waiting_ && head == head_) return;
  waiting_ = now;
  head_ = head;
  if (now == Waiting::kNothing) return deadline_.Clear();
  deadline_.Set(now == Waiting::kRequest ? kKeepAliveTimeout : kHeadTimeout);
}

void Session::OnDeadline() {
  if (state_ == State::kClosing) {
    state_ = State::kOver;
  } else {
    if (waiting_ == Waiting::kHead) {
      RecordFault(Reason::kBadRequest, "the request's head did not arrive in time");
    }
    codec_.Terminate(NGHTTP2_NO_ERROR);
    requests_.clear();
    Close(kDrainTimeout);
  }
  Run();
}

void Session::OnRequestDeadline(int32_t id) {
  GuestStream* stream = codec_.Find(id);
  const auto place = requests_.find(id);
  if (stream == nullptr || place == requests_.end()) return;
  if (Exchange* exchange = place->second.exchange.get()) {
    exchange->OnDeadline();
    codec_.MarkReady(*stream);
  } else {
    // It does not take the rest of its answer, or does not end its request.
    codec_.Reset(*stream, stream->lingers() ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
  }
  Run();
}

/// The guest broke the protocol, or a limit. The GOAWAY is queued.
void Session::EndByFault() {
  requests_.clear();
  const GuestCodec::Fault& fault = *codec_.fault();
  RecordFault(fault.code == NGHTTP2_ENHANCE_YOUR_CALM ? Reason::kLimit : Reason::kBadRequest,
              "the HTTP/2 connection was ended (" + std::string(ErrorName(fault.code)) +
                  "): " + fault.detail);
  Close(kDrainTimeout);
}

void Session::RecordFault(Reason reason, std::string_view detail) {
  flow_.Write(flow_.Record(), reason, detail);
}

/// Nothing is received any more; what is queued is given PATIENCE to go out.
void Session::Close(Clock::duration patience) {
  state_ = State::kClosing;
  again_ = {};
  deadline_.Set(patience);
}

/// Sends the rest, ends our direction once the layers below have taken it (with room for a whole
/// block none is left in a TLS stream), and waits for the guest to close.
void Session::FinishClosing() {
  if (!write_closed_) {
    Send();
    stream_.Flush();
    if (output_.Drain() && stream_.Room() >= kInputBlock) {
      write_closed_ = true;
      stream_.CloseWrite();
      deadline_.Set(kDrainTimeout);
    }
  }
  for (;;) {
    drained_ += input_.rest().size();
    input_.rest() = {};
    if (drained_ > kDrainBytes) break;
    const ReadResult::Kind kind = input_.Fill(stream_);
    if (kind == ReadResult::Kind::kWouldBlock) return;
    if (kind == ReadResult::Kind::kEnd && !write_closed_) return;
    if (kind != ReadResult::Kind::kBytes) break;
  }
  state_ = State::kOver;
}

}  // namespace sallyport::mitm::http2
