#include "mitm/exchange.h"

// How an exchange gets to its server, answers here, and ends. What the policy decides of it is in
// exchange_decision.cc, what passes between the two sides in exchange_relay.cc.

#include <algorithm>
#include <utility>

#include "mitm/grpc_problem.h"
#include "mitm/head_check.h"
#include "mitm/http1/upstream.h"
#include "mitm/http2/upstream_connection.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

/// The code of a close frame, RFC 6455, 7.4.1.
constexpr uint16_t kGoingAway = 1001;

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
  record_.rule = flow.flow().verdict.rule();
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
  if (step_ == Step::kGathering) GatherForPolicy();
  if (step_ == Step::kTokenCall) PumpTokenCall();
  if (step_ == Step::kRelaying) Relay();
  if (step_ == Step::kSwitched) PumpSwitched();
  if (step_ == Step::kAnswering) PumpAnswer();
}

/// What is refused before the policy is asked.
std::optional<Refusal> Exchange::CheckRequest() {
  if (preset_) return preset_;
  if (!flow_.gate().audit.healthy()) {
    return Refused(Reason::kAuditUnavailable, 503, "the audit log can't be written");
  }
  if (flow_.flow().refusal) return flow_.flow().refusal;
  const std::string& method = request_.head.method;
  if (IsNeverForwarded(method)) {
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
  if (!flow_.flow().verdict.http && !flow_.flow().by_policy) {
    return Refused(Reason::kPolicyError, 403, "the flow has no grant for requests");
  }
  return std::nullopt;
}

bool Exchange::BeginTokenCall() {
  token_call_ = TokenCall::Of(flow_, request_.head, [this] { guest_.Resume(); });
  if (!token_call_) return false;
  step_ = Step::kTokenCall;
  SayContinue();
  deadline_.Set(kTokenCallTimeout);
  return true;
}

void Exchange::PumpTokenCall() {
  using State = TokenCall::State;
  switch (token_call_->Pump([this](size_t max) { return ReadGuestBody(max); })) {
    case State::kReading:
      return;
    case State::kWaiting:
      return deadline_.Clear();  // Whoever renews keeps its own.
    case State::kBadBody:
      return OnRequestFailed();
    case State::kGone:
      return Abandon();
    case State::kDone:
      break;
  }
  reason_ = token_call_->reason();
  detail_ = token_call_->detail();
  Answer(token_call_->TakeAnswer());
}

/// Whether the request may go as far as its secrets are concerned.
bool Exchange::Examine() {
  const secrets::Store& store = flow_.gate().secrets;
  if (store.empty()) return true;
  const secrets::RequestTarget target = SecretsTarget();
  PlanScrub(target);  // First, as it changes fields: none of what it drops or sets anew leaves.
  secrets::Examination examination = store.Examine(target, request_.head, &prepared_);
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
  PlanBody(target);
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

/// What the answer passes on its way; and what the request says of it.
void Exchange::PlanScrub(const secrets::RequestTarget& target) {
  Gate& gate = flow_.gate();
  if (!gate.secrets.scrubs()) return;
  const bool bound = target.host && gate.secrets.Binds(*target.host);
  scrub_.emplace(gate.secrets, gate.decoder_memory,
                 bound ? ResponseScrub::Holder::kMaybe : ResponseScrub::Holder::kNo);
  scrub_->Narrow(request_.head);
}

/// What the body of an allowed request passes on its way.
void Exchange::PlanBody(const secrets::RequestTarget& target) {
  Gate& gate = flow_.gate();
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
  if (!request_.expects_continue || request_.body.empty()) return;
  if (std::exchange(continue_said_, true)) return;
  guest_.WriteInterim({.status = 100, .reason = ReasonPhrase(100), .headers = {}});
}

Refusal Exchange::Refused(Reason reason, int status, std::string detail) {
  return {.reason = reason,
          .status = status,
          .detail = std::move(detail),
          .rule = {},
          .how_to_allow = {}};
}

void Exchange::Refuse(const Refusal& refusal) {
  reason_ = refusal.reason;
  detail_ = refusal.detail;
  record_.how_to_allow = refusal.how_to_allow;
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
  waiting_ = {};  // What a callback waits for about the server's answer: there is none any more.
  suspended_response_.reset();
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

void Exchange::Abandon() {
  if (finished()) return;
  if (reason_ == Reason::kAllowed) detail_ = "the client left before the answer was complete";
  Finish();
}

void Exchange::OnDeadline() {
  switch (step_) {
    case Step::kNew:
    case Step::kWaiting:
    case Step::kConnecting:
    case Step::kRenewing:
    case Step::kFinished:
      return;
    case Step::kGathering:
    case Step::kTokenCall:
      return Refuse(Refused(Reason::kBadRequest, 408, "the request's body did not arrive in time"));
    case Step::kAnswering:
      return CutOff(reason_, "the client did not take the answer");
    case Step::kSwitched:
      relay_->Close(kGoingAway);
      return EndSwitched(Reason::kUpstreamTimeout, "nothing was sent on the WebSocket");
    case Step::kRelaying:
      break;
  }
  if (head_sent_) return CutOff(Reason::kUpstreamTimeout, "the answer stalled");
  if (guest_is_due_) {
    return Refuse(Refused(Reason::kBadRequest, 408, "the request's body did not arrive in time"));
  }
  Refuse(Refused(Reason::kUpstreamTimeout, 504,
                 request_done_ ? "the server did not answer in time"
                               : "the server did not take the request in time"));
}

void Exchange::Finish() {
  step_ = Step::kFinished;
  waiting_ = {};
  suspended_.reset();
  suspended_response_.reset();
  connecting_ = {};
  renewing_ = {};
  token_call_.reset();
  if (relay_) {
    record_.bytes_up += relay_->bytes_up();
    record_.bytes_down += relay_->bytes_down();
    for (const std::string& name : upgrade_->found().used) AddOnce(record_.secrets, name);
    relay_.reset();
  }
  upstream_.reset();
  again_ = {};
  lifetime_ = {};
  spent_ = {};
  spending_ = {};
  pause_ = {};
  deadline_.Clear();
  if (upload_.filter != nullptr) {
    for (const std::string& name : upload_.filter->found().used) AddOnce(record_.secrets, name);
  }
  record_.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      flow_.gate().loop.Time() - began_);
  flow_.Write(std::move(record_), reason_, detail_);
}

}  // namespace sallyport::mitm
