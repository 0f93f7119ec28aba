#include "mitm/exchange.h"

// What the policy decides of an exchange: whether its request goes on, and its answer; what it waits for
// before it says so; and bodies that callbacks see, or give instead.

#include <utility>

#include "mitm/head_check.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

/// What HEADERS say of a body that is not sent.
void DropDescription(Headers& headers) {
  for (const char* name : {"content-encoding", "content-md5", "digest", "content-digest",
                           "repr-digest", "etag", "accept-ranges"}) {
    headers.Remove(name);
  }
}

/// How much of a request's body is to be there before WAIT begins; nothing where it needs none.
std::optional<size_t> BodyNeeded(const policy::Wait& wait, const BodyLength& body) {
  if (const auto* read = std::get_if<policy::BodyWait>(&wait)) return read->max;
  const auto* question = std::get_if<policy::AskWait>(&wait);
  if (question == nullptr || question->show_body == 0 || body.empty()) return std::nullopt;
  return question->show_body;
}

}  // namespace

void Exchange::Decide() {
  if (auto refusal = CheckRequest()) return Refuse(*refusal);
  if (flow_.flow().by_policy) {
    policy::RequestVerdict granted;
    granted.action = policy::RequestVerdict::Action::kForward;
    return OnVerdict(std::move(granted));
  }
  OnVerdict(flow_.gate().engine.DecideRequest(*flow_.flow().verdict.http, flow_.facts(), flow_.tls,
                                              request_.head));
}

void Exchange::OnVerdict(policy::RequestVerdict verdict) {
  if (!verdict.rule.empty()) record_.rule = verdict.rule;
  record_.learnt = verdict.learnt;
  switch (verdict.action) {
    case policy::RequestVerdict::Action::kDeny:
      return Refuse(verdict.refusal);
    case policy::RequestVerdict::Action::kRespond:
      if (!IsWritable(verdict.response)) {
        return Refuse(Refused(Reason::kPolicyError, 500, "a hook made an answer that is not HTTP"));
      }
      detail_ = "answered by a hook";
      return Answer({std::move(verdict.response), std::move(verdict.response_body)});
    case policy::RequestVerdict::Action::kWait:
      return Await(std::move(verdict.suspended));
    case policy::RequestVerdict::Action::kForward:
      break;
  }
  if (ChangedToOther(request_.head) || (verdict.body && request_.websocket_key)) {
    return Refuse(Refused(Reason::kPolicyError, 403, "a hook made a request that is not HTTP"));
  }
  if (!OpenBudget(verdict.budget)) return;
  if (verdict.body) ReplaceBody(*std::move(verdict.body));
  if (BeginTokenCall()) return;
  if (verdict.to) own_target_ = flow_.TargetFor(verdict.to);
  if (verdict.filter && !own_target_) {
    own_target_ = flow_.target();
    own_target_->destination.filter = *std::move(verdict.filter);
  }
  if (!Examine()) return;
  if (request_.websocket_key) {
    upgrade_.emplace(flow_.gate().secrets, SecretsTarget(), request_.head, *request_.websocket_key);
    upgrade_->Prepare(request_.head);
    prepared_ = {};  // It was for another head.
  }
  Connect();
}

/// Whether a hook made something of the request that it can't become.
bool Exchange::ChangedToOther(const RequestHead& head) const {
  const bool upgrades = head.headers.Find("upgrade") != nullptr;
  return !IsWritable(head) || (head.method == "HEAD") != asked_for_head_ ||
         upgrades != request_.websocket_key.has_value() || (upgrades && head.method != "GET");
}

/// The decision goes on when what it waits for is there.
void Exchange::Await(std::shared_ptr<policy::SuspendedRequest> suspended) {
  suspended_ = std::move(suspended);
  if (BodyNeeded(suspended_->wait(), request_.body)) {
    step_ = Step::kGathering;
    SayContinue();
    deadline_.Set(kRequestBodyTimeout);
    return GatherForPolicy();
  }
  BeginWait();
}

void Exchange::BeginWait() {
  step_ = Step::kWaiting;
  deadline_.Clear();  // A wait has its own.
  policy::WaitSubject subject{.facts = flow_.facts(), .request = &request_.head};
  if (request_.body.kind != BodyLength::Kind::kUnknown) subject.body_bytes = request_.body.bytes;
  if (const auto* question = std::get_if<policy::AskWait>(&suspended_->wait())) {
    DescribeForUser(*question, subject);
  }
  waiting_ = flow_.gate().waits.Begin(suspended_->wait(), subject, [this](policy::WaitResult result) {
    OnWaited(std::move(result));
    guest_.Resume();  // May destroy this.
  });
}

/// What the user is told of the request beside its head.
void Exchange::DescribeForUser(const policy::AskWait& question, policy::WaitSubject& subject) const {
  const secrets::Store& store = flow_.gate().secrets;
  if (!store.empty()) subject.secrets = store.Examine(SecretsTarget(), request_.head).used;
  if (question.show_body == 0) return;
  subject.body_start = gathered_.held().substr(0, question.show_body);
  if (gathered_.complete()) subject.body_bytes = gathered_.held().size();
}

void Exchange::OnWaited(policy::WaitResult result) {
  waiting_ = {};
  const auto* answer = std::get_if<policy::Approval>(&result);
  if (answer != nullptr && *answer == policy::Approval::kApproved) detail_ = "approved by the user";
  const auto suspended = std::exchange(suspended_, nullptr);
  OnVerdict(suspended->Resume(std::move(result), request_.head));
}

/// Reads the request's body as far as a hook wants to see it, or the user is to.
void Exchange::GatherForPolicy() {
  const bool for_hook = std::holds_alternative<policy::BodyWait>(suspended_->wait());
  const size_t max = BodyNeeded(suspended_->wait(), request_.body).value_or(0);
  const bool too_long = for_hook && request_.body.kind == BodyLength::Kind::kKnown &&
                        request_.body.bytes > max;
  using State = GatheredBody::State;
  const auto source = [this](size_t most) { return guest_.ReadBody(most); };
  policy::ReadBody result;
  switch (too_long ? State::kLonger : gathered_.Gather(source, max)) {
    case State::kWaiting:
      return;
    case State::kWorking:
      return PumpAgain();
    case State::kAll:
      result.bytes = gathered_.held();
      break;
    case State::kLonger:
      break;
    case State::kFailed:
      if (gathered_.failure() == MessageEvent::Kind::kError) return OnRequestFailed();
      return Abandon();
  }
  if (!for_hook) return BeginWait();
  OnWaited(std::move(result));
}

/// BODY, made by a hook, goes instead of the guest's, which is not read any further. What the head
/// says of the guest's body is not true of it.
void Exchange::ReplaceBody(std::string body) {
  DropDescription(request_.head.headers);
  request_.body = {BodyLength::Kind::kKnown, body.size()};
  gathered_.Replace(std::move(body));
}

void Exchange::OnResponseVerdict(policy::ResponseVerdict verdict) {
  switch (verdict.action) {
    case policy::ResponseVerdict::Action::kDeny:
      return Refuse(verdict.refusal);
    case policy::ResponseVerdict::Action::kWait:
      return AwaitResponseWait(std::move(verdict.suspended));
    case policy::ResponseVerdict::Action::kForward:
      break;
  }
  if (!IsWritable(upstream_->response().head)) {
    return Refuse(Refused(Reason::kPolicyError, 502, "a hook made an answer that is not HTTP"));
  }
  if (verdict.body) ReplaceResponse(*std::move(verdict.body));
  WriteResponseHead();
}

/// A body is read by GatherResponse(), turn by turn, while the request's may still go up.
void Exchange::AwaitResponseWait(std::shared_ptr<policy::SuspendedResponse> suspended) {
  suspended_response_ = std::move(suspended);
  deadline_.Set(kResponseBodyTimeout);
  if (std::holds_alternative<policy::BodyWait>(suspended_response_->wait())) return PumpAgain();
  waiting_ = flow_.gate().waits.Begin(
      suspended_response_->wait(), {.facts = flow_.facts(), .request = &request_.head},
      [this](policy::WaitResult result) {
        OnResponseWaited(std::move(result));
        guest_.Resume();  // May destroy this.
      });
}

void Exchange::GatherResponse() {
  const auto* wanted = std::get_if<policy::BodyWait>(&suspended_response_->wait());
  if (wanted == nullptr) return;  // It waits for something else.
  const auto source = [this](size_t most) { return ReadScrubbed(most); };
  policy::ReadBody result;
  switch (gathered_response_.Gather(source, wanted->max)) {
    case GatheredBody::State::kWaiting:
      return;
    case GatheredBody::State::kWorking:
      return PumpAgain();
    case GatheredBody::State::kAll:
      result.bytes = gathered_response_.held();
      break;
    case GatheredBody::State::kLonger:
      break;
    case GatheredBody::State::kFailed:
      suspended_response_.reset();
      return OnUpstreamFailed(std::exchange(gathered_response_, {}).failure());
  }
  OnResponseWaited(std::move(result));
}

void Exchange::OnResponseWaited(policy::WaitResult result) {
  waiting_ = {};
  const auto suspended = std::exchange(suspended_response_, nullptr);
  OnResponseVerdict(suspended->Resume(std::move(result), upstream_->response().head));
}

/// BODY, made by a hook, goes instead of the server's.
void Exchange::ReplaceResponse(std::string body) {
  Response& response = upstream_->response();
  const int status = response.head.status;
  if (asked_for_head_ || status == 204 || status == 304) return;  // There is none to replace.
  DropDescription(response.head.headers);
  response.body = {BodyLength::Kind::kKnown, body.size()};
  gathered_response_.Replace(std::move(body));
  response_replaced_ = true;
}

}  // namespace sallyport::mitm
