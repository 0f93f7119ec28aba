#pragma once

#include <memory>
#include <optional>
#include <string>

#include "mitm/deadline.h"
#include "mitm/flow_context.h"
#include "mitm/gathered_body.h"
#include "mitm/message.h"
#include "mitm/problem.h"
#include "mitm/request_body.h"
#include "mitm/response_scrub.h"
#include "mitm/token_call.h"
#include "mitm/websocket/relay.h"
#include "mitm/websocket/upgrade.h"

namespace sallyport::mitm {

/// One request and its answer, whatever protocol versions they travel by. The steps follow one
/// line; every failure before the answer's head leaves it through Refuse():
///
///     Decide -> OnVerdict -> Examine -> Connect -> OnConnected -> Send -> Relay -> Finish
///     a 401 to our secrets:                   ^------- Renew <-------+
///
/// A decision that waits (for the user, for time, for the request's body) goes from OnVerdict through
/// Await and OnWaited, back to OnVerdict. on.response decides on the answer's head, in ForwardHead, in the
/// same way; the request's body goes on meanwhile.
///
/// A call of a token endpoint that a secret has its tokens from leaves the line at Decide for
/// TokenCall, and is answered here. A WebSocket goes on from Relay, with the server's 101:
/// OnSwitch -> PumpSwitched -> Finish. It takes the connections on both sides along.
///
/// Exactly one audit record is written, when it finishes.
class Exchange final : public UpstreamSide::Listener {
 public:
  /// All outlive it. DEADLINE is its own while it lives; the owner calls OnDeadline().
  Exchange(FlowContext& flow, GuestSide& guest, Deadline& deadline, Request request);
  /// For a request that could not be read: it is answered with REFUSAL.
  Exchange(FlowContext& flow, GuestSide& guest, Deadline& deadline, Request request,
           Refusal refusal);
  ~Exchange();

  /// Does what can be done now. Called once to begin, and whenever either side has changed.
  void Pump();
  void OnDeadline();
  /// The guest is gone.
  void Abandon();
  bool finished() const { return step_ == Step::kFinished; }
  /// Why an exchange that is over has no answer of a server's; nothing if it has one.
  std::optional<std::string> failure() const {
    if (reason_ == Reason::kAllowed) return std::nullopt;
    return detail_.empty() ? std::string(ToString(reason_)) : detail_;
  }
  /// The connection is a WebSocket now, and ends with this.
  bool switched() const { return step_ == Step::kSwitched; }

 private:
  enum class Step {
    kNew,
    kWaiting,
    kGathering,
    kTokenCall,
    kConnecting,
    kRelaying,
    kRenewing,
    kSwitched,
    kAnswering,
    kFinished
  };

  void Decide();
  void OnVerdict(policy::RequestVerdict verdict);
  void Await(std::shared_ptr<policy::SuspendedRequest> suspended);
  void BeginWait();
  void DescribeForUser(const policy::AskWait& question, policy::WaitSubject& subject) const;
  void OnWaited(policy::WaitResult result);
  void GatherForPolicy();
  void ReplaceBody(std::string body);
  bool ChangedToOther(const RequestHead& head) const;
  std::optional<Refusal> CheckRequest();
  bool BeginTokenCall();
  void PumpTokenCall();
  bool Examine();
  void TerminateSandbox();
  secrets::RequestTarget SecretsTarget() const;
  void PlanScrub(const secrets::RequestTarget& target);
  void PlanBody(const secrets::RequestTarget& target);
  void Connect();
  void OnConnected(UpstreamPool::Connected connected);
  void UseConnection(std::unique_ptr<UpstreamConnection> connection);
  void SayContinue();
  bool GatherRequest();
  void Send();
  void AwaitGuest();
  void AwaitServer();
  void AwaitPause();
  void OnPause();
  void Relay();
  void PumpRequest(size_t& budget);
  void PumpResponse(size_t& budget);
  MessageEvent ReadGuestBody(size_t max);
  MessageEvent ReadRequestBody(size_t max);
  MessageEvent ReadScrubbed(size_t max);
  MessageEvent ReadResponse(size_t max);
  void OnRequestEnd();
  void OnRequestFailed();
  void OnResponseHead();
  void ForwardHead();
  void OnResponseVerdict(policy::ResponseVerdict verdict);
  void AwaitResponseWait(std::shared_ptr<policy::SuspendedResponse> suspended);
  void GatherResponse();
  void OnResponseWaited(policy::WaitResult result);
  void ReplaceResponse(std::string body);
  void WriteResponseHead();
  bool Renew();
  void OnRenewed(bool renewed);
  bool BeginScrub(Response& response);
  void OnSwitch();
  void PumpSwitched();
  void EndSwitched(Reason reason, std::string_view detail);
  void OnMessagesFailed();
  void WriteEnd();
  void OnUpstreamFailed(MessageEvent::Kind kind);
  bool MayRetry() const;

  static Refusal Refused(Reason reason, int status, std::string detail);
  void Refuse(const Refusal& refusal);
  void Answer(LocalAnswer answer);
  void PumpAnswer();
  void CutOff(Reason reason, std::string_view detail);
  bool OpenBudget(const policy::RuleBudgetPtr& budget);
  bool Spend(uint64_t up, uint64_t down);
  void OnSpent();
  void EndSpent();
  void Finish();
  void OnUpstreamReady() override;
  void PumpAgain();

  FlowContext& flow_;
  GuestSide& guest_;
  Deadline& deadline_;
  Request request_;
  const bool asked_for_head_;
  std::optional<Refusal> preset_;
  Step step_ = Step::kNew;

  std::shared_ptr<policy::SuspendedRequest> suspended_;  // The decision, while it waits.
  Pending waiting_;
  GatheredBody gathered_;
  std::shared_ptr<policy::SuspendedResponse> suspended_response_;  // The same of its answer.
  GatheredBody gathered_response_;
  bool response_replaced_ = false;
  bool continue_said_ = false;

  std::optional<UpstreamTarget>
      own_target_;                      // Where this request goes, if not where the flow goes.
  std::unique_ptr<TokenCall> token_call_;
  bool substitutes_ = false;            // Secrets are put into the head.
  secrets::PreparedRequest prepared_;   // How, as long as the head is as it was examined.
  RequestBodyPlan upload_;              // Secrets may be put into the body.
  std::optional<ResponseScrub> scrub_;  // Secrets are kept out of the answer.
  std::optional<websocket::Upgrade> upgrade_;  // It asks for a WebSocket.
  std::unique_ptr<websocket::Relay> relay_;    // That it is.
  Pending connecting_;
  std::unique_ptr<UpstreamSide> upstream_;
  bool retried_ = false;
  bool renewed_ = false;  // New values were asked for, once, after a 401.
  Pending renewing_;
  bool request_sent_ = false;  // Its head.
  bool request_done_ = false;
  bool guest_is_due_ = false;  // The deadline is that of its body.
  policy::Spending spending_;  // Of the rule's budget.
  Loop::Handle lifetime_;
  Loop::Handle spent_;
  bool body_begun_ = false;  // Some of the body went upstream.
  bool head_sent_ = false;  // To the guest; not an interim one.
  int interim_ = 0;
  std::string body_;  // Of an answer made here, from body_sent_ on still to be written.
  size_t body_sent_ = 0;

  AuditRecord record_;
  Reason reason_ = Reason::kAllowed;
  std::string detail_;
  const Clock::time_point began_;
  Loop::Handle again_;
  Loop::Handle pause_;  // Of the request's body, which secrets are put into.
};

}  // namespace sallyport::mitm
