#include "mitm/exchange.h"

// What an exchange does once it has a server: the request's body up, the answer down, a new try, and
// the WebSocket that may come of it. How it gets there is in exchange.cc.

#include <algorithm>
#include <utility>

#include "mitm/head_check.h"
#include "mitm/http1/fields.h"
#include "mitm/limits.h"
#include "secrets/body_integrity.h"

namespace sallyport::mitm {
namespace {

using Kind = MessageEvent::Kind;

/// RFC 9110, 9.2.2.
bool IsIdempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

/// What a response may not tell a guest: other ways to the same server, which the gate would not
/// see.
void CleanResponse(ResponseHead& head) {
  head.headers.Remove("alt-svc");
}

}  // namespace

/// Reads the body before the head is sent, which is to say how long it is; false while it is not
/// there, or when it never will be.
bool Exchange::GatherRequest() {
  const auto source = [this](size_t max) { return ReadGuestBody(max); };
  switch (upload_.body->Gather(source, kMaxBufferedBody)) {
    case Kind::kEnd:
      request_.body = {BodyLength::Kind::kKnown, upload_.body->held()};
      break;
    case Kind::kBody:
      request_.body = {BodyLength::Kind::kUnknown, 0};
      break;
    case Kind::kWouldBlock:
      AwaitGuest();
      return false;
    case Kind::kError:
      OnRequestFailed();
      return false;
    case Kind::kHead:
    case Kind::kBroken:
      Abandon();
      return false;
  }
  Send();
  return step_ == Step::kRelaying;
}

/// A secret that was revoked since the request was examined refuses it.
void Exchange::Send() {
  if (substitutes_) {
    RequestHead head = request_.head;
    if (const auto refusal = flow_.gate().secrets.Substitute(SecretsTarget(), head, prepared_)) {
      return Refuse(*refusal);
    }
    upstream_->WriteHead(head, flow_.authority(), request_.body);
    secrets::WipeHead(head);
  } else {
    upstream_->WriteHead(request_.head, flow_.authority(), request_.body);
  }
  request_sent_ = true;
  record_.sent = true;
  AwaitServer();
}

/// The rest of the request's body is awaited.
void Exchange::AwaitGuest() {
  guest_is_due_ = true;
  deadline_.Set(kRequestBodyTimeout);
}

/// The server has been given something to do, or is to take what there is for it.
void Exchange::AwaitServer() {
  guest_is_due_ = false;
  deadline_.Set(head_sent_ ? kResponseBodyTimeout : kResponseHeadTimeout);
}

/// What the body ends with for now may have begun a placeholder, and a server may be waiting for it.
void Exchange::AwaitPause() {
  if (pause_ || !upload_.body || !upload_.filter->holds()) return;
  pause_ = flow_.gate().loop.After(kHeldPlaceholderTimeout, [this] { OnPause(); });
}

void Exchange::OnPause() {
  pause_ = {};
  upload_.body->Pause();
  guest_.Resume();  // May destroy this.
}

void Exchange::Relay() {
  if (spending_.why()) return;  // It is about to end.
  if (!request_sent_ && !GatherRequest()) return;
  size_t budget = kTurnBudget;
  if (!request_done_) PumpRequest(budget);
  if (step_ != Step::kRelaying || spending_.why()) return;
  upstream_->Flush();
  budget = std::max<size_t>(budget, kInputBlock);
  if (suspended_response_) {
    GatherResponse();
    if (step_ != Step::kRelaying || suspended_response_) return;
  }
  PumpResponse(budget);
  if (step_ == Step::kRelaying && budget == 0) PumpAgain();
}

void Exchange::PumpRequest(size_t& budget) {
  while (budget > 0) {
    const size_t room = std::min(upstream_->Room(), budget);
    // An end may follow without room for anything else, so a request without a body never waits.
    if (room == 0 && !request_.body.empty()) return;
    const MessageEvent event = ReadRequestBody(room);
    switch (event.kind) {
      case Kind::kBody:
        if (event.piece.empty()) return PumpAgain();  // A filter is at work.
        upstream_->WriteBody(event.piece);
        body_begun_ = true;
        pause_ = {};
        record_.bytes_up += event.piece.size();
        budget -= event.piece.size();
        AwaitServer();
        if (!Spend(event.piece.size(), 0)) return;
        break;
      case Kind::kEnd:
        return OnRequestEnd();
      case Kind::kWouldBlock:
        if (!head_sent_) AwaitGuest();
        return AwaitPause();
      case Kind::kHead:
      case Kind::kBroken:
        return Abandon();
      case Kind::kError:
        return OnRequestFailed();
    }
  }
  PumpAgain();
}

/// Trailers are passed on as far as they may be, without a value put in.
void Exchange::OnRequestEnd() {
  const secrets::Store& store = flow_.gate().secrets;
  // Those of a body that a hook replaced belong to nothing.
  Headers trailers = gathered_.replaced() ? Headers() : guest_.trailers();
  if (!trailers.fields().empty() && !store.empty()) {
    const secrets::Examination found =
        store.ExamineTrailers(SecretsTarget(), request_.head, trailers);
    if (found.terminate) TerminateSandbox();
    if (found.refusal && head_sent_) return CutOff(found.refusal->reason, found.refusal->detail);
    if (found.refusal) return Refuse(*found.refusal);
  }
  http1::CleanRequestTrailers(trailers);
  if (upload_.body && !upload_.filter->only_looks()) secrets::DropBodyDigests(trailers);
  record_.bytes_up += SizeOf(trailers);
  upstream_->WriteEnd(trailers);
  request_done_ = true;
  AwaitServer();
}

MessageEvent Exchange::ReadGuestBody(size_t max) {
  return gathered_.Read([this](size_t most) { return guest_.ReadBody(most); }, max);
}

MessageEvent Exchange::ReadRequestBody(size_t max) {
  if (!upload_.body) return ReadGuestBody(max);
  return upload_.body->Read([this](size_t most) { return ReadGuestBody(most); }, max);
}

MessageEvent Exchange::ReadResponse(size_t max) {
  return gathered_response_.Read([this](size_t most) { return ReadScrubbed(most); }, max);
}

MessageEvent Exchange::ReadScrubbed(size_t max) {
  if (!scrub_ || scrub_->body() == nullptr) return upstream_->Read(max);
  return scrub_->body()->Read([this](size_t most) { return upstream_->Read(most); }, max);
}

/// The request's body breaks HTTP, its content coding or a limit, or has a placeholder in it that
/// may not stand there.
void Exchange::OnRequestFailed() {
  const bool own = upload_.body && upload_.body->failed();
  const ProtocolError& error = own ? upload_.body->error() : guest_.error();
  Refusal refusal =
      Refused(error.status == 413 ? Reason::kLimit : Reason::kBadRequest, error.status,
              own ? "the request's body: " + error.detail : error.detail);
  if (own && upload_.filter->found().refusal) refusal = *upload_.filter->found().refusal;
  if (own && upload_.filter->found().terminate) TerminateSandbox();
  if (head_sent_) return CutOff(refusal.reason, refusal.detail);
  Refuse(refusal);
}

void Exchange::PumpResponse(size_t& budget) {
  while (budget > 0) {
    const size_t room = std::min(guest_.Room(), budget);
    if (room == 0) return;
    const MessageEvent event = ReadResponse(room);
    switch (event.kind) {
      case Kind::kHead:
        OnResponseHead();
        if (step_ != Step::kRelaying || suspended_response_ || spending_.why()) return;
        break;
      case Kind::kBody:
        if (event.piece.empty()) return PumpAgain();  // A filter is at work.
        guest_.WriteBody(event.piece);
        record_.bytes_down += event.piece.size();
        budget -= event.piece.size();
        deadline_.Set(kResponseBodyTimeout);
        if (!Spend(0, event.piece.size())) return;
        break;
      case Kind::kEnd:
        WriteEnd();
        // Of an answer that a callback replaced there may be more to come.
        if (request_done_ && !response_replaced_) upstream_->Finish();
        return Finish();
      case Kind::kWouldBlock:
        return;
      case Kind::kError:
      case Kind::kBroken:
        return OnUpstreamFailed(event.kind);
    }
  }
}

void Exchange::OnResponseHead() {
  Response& response = upstream_->response();
  CleanResponse(response.head);
  if (response.head.status == 101) return OnSwitch();
  if (response.interim()) {
    if (++interim_ > kMaxInterimResponses) {
      return Refuse(Refused(Reason::kUpstreamProtocol, 502, "the server sends no final answer"));
    }
    if (scrub_) scrub_->Scrub(response.head);
    if (response.head.status != 100) guest_.WriteInterim(response.head);
    return;
  }
  if (!Renew()) ForwardHead();
}

void Exchange::ForwardHead() {
  Response& response = upstream_->response();
  if (scrub_ && !BeginScrub(response)) return;
  policy::Engine& engine = flow_.gate().engine;
  const bool seen = !flow_.flow().by_policy && engine.SeesResponses(flow_.facts());
  if (!seen) return WriteResponseHead();
  OnResponseVerdict(
      engine.DecideResponse(flow_.facts(), flow_.tls, request_.head, response.head));
}

void Exchange::WriteResponseHead() {
  Response& response = upstream_->response();
  record_.status = response.head.status;
  record_.bytes_down += SizeOf(response.head.headers);
  guest_.WriteHead(response.head, response.body);
  head_sent_ = true;
  deadline_.Set(kResponseBodyTimeout);
  Spend(0, SizeOf(response.head.headers));
}

/// A 401 to a request that carried secrets: their sources are asked for new values, once. Where the
/// request can simply be sent again, its answer waits for them (true); otherwise the client's next try
/// will carry them.
bool Exchange::Renew() {
  const RenewSecrets& renew = flow_.gate().renew;
  if (upstream_->response().head.status != 401 || record_.secrets.empty() || !renew) return false;
  if (std::exchange(renewed_, true)) return false;
  const bool can_repeat =
      request_done_ && request_.body.empty() && IsIdempotent(request_.head.method);
  if (!can_repeat) {
    (void)renew(record_.secrets, nullptr);
    return false;
  }
  step_ = Step::kRenewing;
  deadline_.Clear();  // Whoever renews keeps its own.
  renewing_ = renew(record_.secrets, [this](bool renewed) { OnRenewed(renewed); });
  return true;
}

void Exchange::OnRenewed(bool renewed) {
  renewing_ = {};
  step_ = Step::kRelaying;
  if (renewed) {
    upstream_.reset();
    request_done_ = false;
    if (Examine()) Connect();
  } else {
    ForwardHead();
  }
  guest_.Resume();  // May destroy this.
}

/// Prepares for scrubbing an answer; false when it ends the exchange.
bool Exchange::BeginScrub(Response& response) {
  using AnswerTo = ResponseScrub::AnswerTo;
  auto refusal = scrub_->Begin(response, asked_for_head_ ? AnswerTo::kHead : AnswerTo::kOther);
  if (refusal) {
    Refuse(*refusal);
    return false;
  }
  if (scrub_->body() == nullptr) return true;
  const Kind kind =
      scrub_->SettleLength(response, [this](size_t max) { return upstream_->Read(max); });
  if (kind != Kind::kError && kind != Kind::kBroken) return true;
  OnUpstreamFailed(kind);
  return false;
}

/// The server agrees to a WebSocket; to nothing else, as its codec has seen.
void Exchange::OnSwitch() {
  ResponseHead& head = upstream_->response().head;
  const auto server = upstream_->channel();
  std::optional<std::string> why = "nobody asked for it";
  if (upgrade_ && server) why = upgrade_->Accept(request_.head, head);
  if (why) {
    return Refuse(
        Refused(Reason::kUpstreamProtocol, 502, "the server's answer to a WebSocket: " + *why));
  }
  record_.status = head.status;
  record_.bytes_down += SizeOf(head.headers);
  guest_.WriteHead(head, {});
  head_sent_ = true;
  const auto guest = guest_.channel();
  if (!guest) return CutOff(Reason::kUpstreamProtocol, "this client can't have a WebSocket");
  relay_ = upgrade_->MakeRelay(*guest, *server);
  step_ = Step::kSwitched;
  deadline_.Set(kResponseBodyTimeout);
}

void Exchange::PumpSwitched() {
  using State = websocket::Relay::State;
  if (spending_.why()) return;  // It is about to end.
  const uint64_t before_up = relay_->bytes_up();
  const uint64_t before_down = relay_->bytes_down();
  const State state = relay_->Pump();
  upstream_->Flush();
  const uint64_t up = relay_->bytes_up() - before_up;
  const uint64_t down = relay_->bytes_down() - before_down;
  if (up + down > 0) deadline_.Set(kResponseBodyTimeout);
  if (!Spend(up, down)) return;
  switch (state) {
    case State::kOpen:
      return;
    case State::kMore:
      return PumpAgain();
    case State::kOver:
      return EndSwitched(Reason::kAllowed, {});
    case State::kFailed:
      return OnMessagesFailed();
  }
}

/// A side broke RFC 6455, or the guest sent a placeholder where it may not stand.
void Exchange::OnMessagesFailed() {
  const websocket::Relay::Failure& failure = relay_->failure();
  const secrets::Examination& found = upgrade_->found();
  if (found.terminate) TerminateSandbox();
  if (found.refusal) return EndSwitched(found.refusal->reason, found.refusal->detail);
  const bool client = failure.sender == websocket::Sender::kClient;
  EndSwitched(client ? Reason::kBadRequest : Reason::kUpstreamProtocol,
              "the WebSocket was closed, since the " + std::string(client ? "client" : "server") +
                  " broke its protocol: " + failure.error.message());
}

/// Both connections end behind what was written to them.
void Exchange::EndSwitched(Reason reason, std::string_view detail) {
  reason_ = reason;
  detail_ = detail;
  upstream_->Flush();
  upstream_->Finish();
  Finish();
}

void Exchange::WriteEnd() {
  if (response_replaced_) return guest_.WriteEnd({});
  if (!scrub_) return guest_.WriteEnd(upstream_->trailers());
  Headers trailers = upstream_->trailers();
  scrub_->ScrubTrailers(trailers);
  guest_.WriteEnd(trailers);
}

void Exchange::OnUpstreamFailed(MessageEvent::Kind kind) {
  std::string detail = upstream_->error().detail;
  if (scrub_ && scrub_->body() != nullptr && scrub_->body()->failed()) {
    detail = "the server's answer can't be searched for secrets: " + scrub_->body()->error().detail;
  } else if (kind == Kind::kError) {
    detail = "the server's answer is not valid HTTP: " + detail;
  } else if (detail.empty()) {
    detail = "the server closed the connection before its answer was complete";
  }
  if (head_sent_) return CutOff(Reason::kUpstreamProtocol, detail);
  if (kind == Kind::kBroken && MayRetry()) {
    retried_ = true;
    request_done_ = false;
    upstream_.reset();
    return Connect();
  }
  Refuse(Refused(Reason::kUpstreamProtocol, 502, detail));
}

/// A connection from the pool may have been closed by the server while the request was on its way;
/// and an HTTP/2 server can say that it did nothing with it.
bool Exchange::MayRetry() const {
  if (retried_) return false;
  if (upstream_->unprocessed()) return !body_begun_ && !upload_.gather;
  return upstream_->may_be_stale() && request_.body.empty() && IsIdempotent(request_.head.method);
}

/// The answer has begun and can't be completed.
void Exchange::CutOff(Reason reason, std::string_view detail) {
  reason_ = reason;
  detail_ = detail;
  guest_.Break();
  Finish();
}

void Exchange::OnUpstreamReady() {
  guest_.Resume();
}

/// There is more to do, but others have their turn first.
void Exchange::PumpAgain() {
  again_ = flow_.gate().loop.Post([this] { guest_.Resume(); });
}

}  // namespace sallyport::mitm
