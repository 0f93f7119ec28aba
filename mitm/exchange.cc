#include "mitm/exchange.h"

#include <algorithm>
#include <utility>

#include "mitm/grpc_problem.h"
#include "mitm/head_check.h"
#include "mitm/http1/upstream.h"
#include "mitm/http2/upstream_connection.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

using Kind = MessageEvent::Kind;

Refusal Refused(Reason reason, int status, std::string detail) {
  return {.reason = reason,
          .status = status,
          .detail = std::move(detail),
          .rule = {},
          .how_to_allow = {}};
}

/// The code of a close frame, RFC 6455, 7.4.1.
constexpr uint16_t kGoingAway = 1001;

/// RFC 9110, 9.2.2.
bool IsIdempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

/// gRPC, which needs HTTP/2 (its trailers, its streams in both directions); not gRPC-Web.
bool NeedsHttp2(const RequestHead& head) {
  const std::string* type = head.headers.Find("content-type");
  constexpr std::string_view kGrpc = "application/grpc";
  if (type == nullptr || !EqualsIgnoreCase(std::string_view(*type).substr(0, kGrpc.size()), kGrpc))
    return false;
  return type->size() == kGrpc.size() || (*type)[kGrpc.size()] != '-';
}

void AddOnce(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

/// What a response may not tell a guest: other ways to the same server, which the gate would not
/// see.
void CleanResponse(ResponseHead& head) {
  head.headers.Remove("alt-svc");
}

}  // namespace

Exchange::Exchange(FlowContext& flow, GuestSide& guest, Deadline& deadline, Request request)
    : flow_(flow),
      guest_(guest),
      deadline_(deadline),
      request_(std::move(request)),
      asked_for_head_(request_.head.method == "HEAD"),
      record_(flow.Record()),
      began_(flow.gate().loop.now()) {
  record_.method = request_.head.method.substr(0, 32);
  record_.path = request_.head.path.substr(0, kMaxAuditPath);
  record_.rule = flow.flow().verdict.rule;
  record_.bytes_up = request_.head.method.size() + request_.head.path.size() +
                     SizeOf(request_.head.headers) +
                     (request_.head.query ? request_.head.query->size() : 0);
}

Exchange::Exchange(FlowContext& flow, GuestSide& guest, Deadline& deadline, Request request,
                   Refusal refusal)
    : Exchange(flow, guest, deadline, std::move(request)) {
  preset_ = std::move(refusal);
}

Exchange::~Exchange() {
  Abandon();
}

void Exchange::Pump() {
  if (step_ == Step::kNew) Decide();
  if (step_ == Step::kRelaying) Relay();
  if (step_ == Step::kSwitched) PumpSwitched();
  if (step_ == Step::kAnswering) PumpAnswer();
}

void Exchange::Decide() {
  if (auto refusal = CheckRequest()) return Refuse(*refusal);
  Gate& gate = flow_.gate();
  policy::RequestVerdict verdict = gate.engine.DecideRequest(
      *flow_.flow().verdict.http, flow_.facts(), flow_.tls, request_.head);
  if (!verdict.rule.empty()) record_.rule = verdict.rule;
  switch (verdict.action) {
    case policy::RequestVerdict::Action::kDeny:
      return Refuse(verdict.refusal);
    case policy::RequestVerdict::Action::kRespond:
      if (!IsWritable(verdict.response)) {
        return Refuse(Refused(Reason::kPolicyError, 500, "a hook made an answer that is not HTTP"));
      }
      detail_ = "answered by a hook";
      return Answer({std::move(verdict.response), std::move(verdict.response_body)});
    case policy::RequestVerdict::Action::kForward:
      break;
  }
  const bool upgrades = request_.head.headers.Find("upgrade") != nullptr;
  if (!IsWritable(request_.head) || (request_.head.method == "HEAD") != asked_for_head_ ||
      upgrades != request_.websocket_key.has_value() ||
      (upgrades && request_.head.method != "GET")) {
    return Refuse(Refused(Reason::kPolicyError, 403, "a hook made a request that is not HTTP"));
  }
  if (verdict.to) own_target_ = flow_.TargetFor(verdict.to);
  if (!Examine()) return;
  if (request_.websocket_key) {
    upgrade_.emplace(flow_.gate().secrets, SecretsTarget(), request_.head, *request_.websocket_key);
    upgrade_->Prepare(request_.head);
  }
  Connect();
}

/// What is refused before the policy is asked.
std::optional<Refusal> Exchange::CheckRequest() {
  if (preset_) return preset_;
  if (!flow_.gate().audit.healthy()) {
    return Refused(Reason::kAuditUnavailable, 503, "the audit log can't be written");
  }
  if (flow_.flow().refusal) return flow_.flow().refusal;
  const std::string& method = request_.head.method;
  if (method == "TRACE" || method == "CONNECT") {
    return Refused(Reason::kBadRequest, 501, method + " is not forwarded by the gate");
  }
  if (flow_.sni_mismatch) {
    return Refused(Reason::kHostMismatch, 421,
                   "the TLS connection was opened for " + flow_.tls.sni + ", but it belongs to " +
                       ToString(flow_.Identity()));
  }
  if (auto mismatch = flow_.CheckAuthority(request_.head.authority)) {
    return Refused(Reason::kHostMismatch, 421, std::move(*mismatch));
  }
  if (!flow_.flow().verdict.http) {
    return Refused(Reason::kPolicyError, 403, "the flow has no grant for requests");
  }
  return std::nullopt;
}

/// Whether the request may go as far as its secrets are concerned.
bool Exchange::Examine() {
  const secrets::Store& store = flow_.gate().secrets;
  if (store.empty()) return true;
  const secrets::RequestTarget target = SecretsTarget();
  secrets::Examination examination = store.Examine(target, request_.head);
  if (examination.terminate) {
    TerminateSandbox();
  }
  if (examination.refusal) {
    Refuse(*examination.refusal);
    return false;
  }
  record_.secrets = std::move(examination.used);
  // A host with secrets may have credentials of the guest's own stripped, with none of ours used.
  substitutes_ = !record_.secrets.empty() || (target.host && store.Binds(*target.host));
  PlanBodies(target);
  return true;
}

void Exchange::TerminateSandbox() {
  flow_.gate().terminate("a secret's placeholder was sent where it may not go");
}

secrets::RequestTarget Exchange::SecretsTarget() const {
  return {.host = flow_.facts().name,
          .port = flow_.facts().destination.port,
          .encrypted = flow_.tls.encrypted};
}

/// What the bodies of an allowed request and of its answer pass on their ways.
void Exchange::PlanBodies(const secrets::RequestTarget& target) {
  Gate& gate = flow_.gate();
  if (gate.secrets.scrubs()) {
    const bool bound = target.host && gate.secrets.Binds(*target.host);
    scrub_.emplace(gate.secrets, gate.decoder_memory,
                   bound ? ResponseScrub::Holder::kMaybe : ResponseScrub::Holder::kNo);
    scrub_->Narrow(request_.head);
  }
  if (request_.body.empty()) return;
  auto filter = gate.secrets.BodySubstituter(target, request_.head);
  if (!filter) return;
  const FilteredLength length = gate.secrets.KeepsBodyLength(target, request_.head)
                                    ? FilteredLength::kSame
                                    : FilteredLength::kOther;
  upload_ = PlanRequestBody(std::move(filter), length, gate.decoder_memory, request_);
  detail_ = upload_.note;
}

void Exchange::Connect() {
  const std::string key = own_target_ ? own_target_->Key() : flow_.target_key();
  const Protocols protocols = flow_.protocols();
  UpstreamPool& pool = flow_.gate().pool;
  if (!retried_) {
    if (auto idle = pool.TakeIdle(key, protocols)) return UseConnection(std::move(idle));
  }
  step_ = Step::kConnecting;
  deadline_.Clear();  // The pool keeps its own.
  connecting_ = pool.Connect(own_target_ ? *own_target_ : flow_.target(), key, protocols,
                             [this](UpstreamPool::Connected c) { OnConnected(std::move(c)); });
}

void Exchange::OnConnected(UpstreamPool::Connected connected) {
  if (connected.address) record_.address = connected.address;
  if (connected.connection) {
    UseConnection(std::move(connected.connection));
  } else {
    Refuse(connected.refusal);
  }
  guest_.Resume();  // May destroy this.
}

void Exchange::UseConnection(std::unique_ptr<UpstreamConnection> connection) {
  record_.address = connection->peer.address;
  if (connection->shared != nullptr) {
    upstream_ = connection->shared->Open(*this);
  } else if (NeedsHttp2(request_.head)) {
    flow_.gate().pool.PutBack(std::move(connection));
    return Refuse(Refused(Reason::kUpstreamProtocol, 502,
                          "this is a gRPC request, but the server speaks only HTTP/1.1"));
  } else {
    upstream_ = std::make_unique<http1::Upstream>(flow_.gate().pool, std::move(connection), *this);
  }
  step_ = Step::kRelaying;
  SayContinue();
  if (!upload_.gather) Send();
}

/// Said by us, once it is certain that somebody wants the body; never asked of the server.
void Exchange::SayContinue() {
  if (!request_.expects_continue || request_.body.empty() || retried_) return;
  guest_.WriteInterim({.status = 100, .reason = ReasonPhrase(100), .headers = {}});
}

/// Reads the body before the head is sent, which is to say how long it is; false while it is not
/// there, or when it never will be.
bool Exchange::GatherRequest() {
  const auto source = [this](size_t max) { return guest_.ReadBody(max); };
  switch (upload_.body->Gather(source, kMaxBufferedBody)) {
    case Kind::kEnd:
      request_.body = {BodyLength::Kind::kKnown, upload_.body->held()};
      break;
    case Kind::kBody:
      request_.body = {BodyLength::Kind::kUnknown, 0};
      break;
    case Kind::kWouldBlock:
      deadline_.Set(kRequestBodyTimeout);
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
  return true;
}

void Exchange::Send() {
  request_sent_ = true;
  if (substitutes_) {
    const secrets::RequestTarget target = SecretsTarget();
    RequestHead head = request_.head;
    flow_.gate().secrets.Substitute(target, head);
    upstream_->WriteHead(head, flow_.authority(), request_.body);
    secrets::WipeHead(head);
  } else {
    upstream_->WriteHead(request_.head, flow_.authority(), request_.body);
  }
  deadline_.Set(kResponseHeadTimeout);
}

void Exchange::Relay() {
  if (!request_sent_ && !GatherRequest()) return;
  size_t budget = kTurnBudget;
  if (!request_done_) PumpRequest(budget);
  if (step_ != Step::kRelaying) return;
  upstream_->Flush();
  budget = std::max<size_t>(budget, kInputBlock);
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
        record_.bytes_up += event.piece.size();
        budget -= event.piece.size();
        deadline_.Set(head_sent_ ? kResponseBodyTimeout : kResponseHeadTimeout);
        break;
      case Kind::kEnd:
        upstream_->WriteEnd();
        request_done_ = true;
        return;
      case Kind::kWouldBlock:
        if (!head_sent_) deadline_.Set(kRequestBodyTimeout);
        return;
      case Kind::kHead:
      case Kind::kBroken:
        return Abandon();
      case Kind::kError:
        return OnRequestFailed();
    }
  }
  PumpAgain();
}

MessageEvent Exchange::ReadRequestBody(size_t max) {
  if (!upload_.body) return guest_.ReadBody(max);
  return upload_.body->Read([this](size_t most) { return guest_.ReadBody(most); }, max);
}

MessageEvent Exchange::ReadResponse(size_t max) {
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
        if (step_ != Step::kRelaying) return;
        break;
      case Kind::kBody:
        if (event.piece.empty()) return PumpAgain();  // A filter is at work.
        guest_.WriteBody(event.piece);
        record_.bytes_down += event.piece.size();
        budget -= event.piece.size();
        deadline_.Set(kResponseBodyTimeout);
        break;
      case Kind::kEnd:
        WriteEnd();
        if (request_done_) upstream_->Finish();
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
  record_.status = response.head.status;
  record_.bytes_down += SizeOf(response.head.headers);
  guest_.WriteHead(response.head, response.body);
  head_sent_ = true;
  deadline_.Set(kResponseBodyTimeout);
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
  const uint64_t before = relay_->bytes_up() + relay_->bytes_down();
  const State state = relay_->Pump();
  upstream_->Flush();
  if (relay_->bytes_up() + relay_->bytes_down() > before) deadline_.Set(kResponseBodyTimeout);
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

void Exchange::Refuse(const Refusal& refusal) {
  reason_ = refusal.reason;
  detail_ = refusal.detail;
  if (!refusal.rule.empty()) record_.rule = refusal.rule;
  Refusal told = refusal;
  if (told.rule.empty() && reason_ == Reason::kDeniedByRule) told.rule = record_.rule;
  if (told.status < 400 || told.status > 599) told.status = 403;
  const Headers& asked = request_.head.headers;
  const uint64_t flow = flow_.facts().flow;
  const secrets::Store& secrets = flow_.gate().secrets;
  Answer(IsGrpc(asked) ? MakeGrpcProblem(asked, told, flow, secrets)
                       : MakeProblem(told, flow, secrets));
}

/// Answers here; nothing, or nothing more, goes upstream.
void Exchange::Answer(LocalAnswer answer) {
  connecting_ = {};
  upstream_.reset();
  record_.status = answer.head.status;
  record_.bytes_down = SizeOf(answer.head.headers);
  body_ = std::move(answer.body);
  head_sent_ = true;
  const bool bodiless = answer.head.status == 204 || answer.head.status == 304;
  guest_.WriteHead(answer.head,
                   bodiless ? BodyLength{} : BodyLength{BodyLength::Kind::kKnown, body_.size()});
  if (bodiless || asked_for_head_) body_.clear();
  step_ = Step::kAnswering;
  deadline_.Set(kResponseBodyTimeout);
}

void Exchange::PumpAnswer() {
  while (body_sent_ < body_.size()) {
    const size_t size = std::min(guest_.Room(), body_.size() - body_sent_);
    if (size == 0) return;
    guest_.WriteBody(std::string_view(body_).substr(body_sent_, size));
    body_sent_ += size;
    record_.bytes_down += size;
    deadline_.Set(kResponseBodyTimeout);
  }
  guest_.WriteEnd({});
  Finish();
}

/// The answer has begun and can't be completed.
void Exchange::CutOff(Reason reason, std::string_view detail) {
  reason_ = reason;
  detail_ = detail;
  guest_.Break();
  Finish();
}

void Exchange::Abandon() {
  if (finished()) return;
  if (reason_ == Reason::kAllowed) detail_ = "the client left before the answer was complete";
  Finish();
}

void Exchange::OnDeadline() {
  switch (step_) {
    case Step::kNew:
    case Step::kConnecting:
    case Step::kRenewing:
    case Step::kFinished:
      return;
    case Step::kAnswering:
      return CutOff(reason_, "the client did not take the answer");
    case Step::kSwitched:
      relay_->Close(kGoingAway);
      return EndSwitched(Reason::kUpstreamTimeout, "nothing was sent on the WebSocket");
    case Step::kRelaying:
      break;
  }
  if (head_sent_) return CutOff(Reason::kUpstreamTimeout, "the answer stalled");
  if (!request_done_) {
    return Refuse(Refused(Reason::kBadRequest, 408, "the request's body did not arrive in time"));
  }
  Refuse(Refused(Reason::kUpstreamTimeout, 504, "the server did not answer in time"));
}

void Exchange::Finish() {
  step_ = Step::kFinished;
  connecting_ = {};
  renewing_ = {};
  if (relay_) {
    record_.bytes_up += relay_->bytes_up();
    record_.bytes_down += relay_->bytes_down();
    for (const std::string& name : upgrade_->found().used) AddOnce(record_.secrets, name);
    relay_.reset();
  }
  upstream_.reset();
  again_ = {};
  deadline_.Clear();
  if (upload_.filter != nullptr) {
    for (const std::string& name : upload_.filter->found().used) AddOnce(record_.secrets, name);
  }
  record_.duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began_);
  flow_.Write(std::move(record_), reason_, detail_);
}

void Exchange::OnUpstreamReady() {
  guest_.Resume();
}

/// There is more to do, but others have their turn first.
void Exchange::PumpAgain() {
  again_ = flow_.gate().loop.Post([this] { guest_.Resume(); });
}

}  // namespace sallyport::mitm
