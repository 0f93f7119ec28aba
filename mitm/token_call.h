#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/pending.h"
#include "mitm/flow_context.h"
#include "mitm/message.h"
#include "mitm/problem.h"
#include "mitm/token_endpoint.h"

namespace sallyport::mitm {

/// A guest's own call of a token endpoint that a secret of the policy gets its tokens from. It is
/// answered here, with the secret's placeholder as the token; nothing of it goes anywhere, so what
/// the guest proves itself with may be anything. The value behind the placeholder is renewed by its
/// keeper, which is only asked here where there is none:
///
///     Pump (the body) -> Choose -> AskForValue -> OnRenewed -> Conclude
class TokenCall {
 public:
  /// As GuestSide::ReadBody().
  using Source = std::function<MessageEvent(size_t max)>;
  enum class State {
    kReading,  ///< There will be more of the body: Pump() again.
    kWaiting,  ///< For a value; CHANGED is called when it is there. Bounded by who renews.
    kDone,     ///< answer(), reason() and detail() hold.
    kBadBody,  ///< The body breaks its protocol; its source knows how.
    kGone,     ///< The guest is.
  };

  /// Null for a request that is no such call. FLOW outlives it. CHANGED comes from the loop.
  static std::unique_ptr<TokenCall> Of(FlowContext& flow, const RequestHead& head,
                                       std::function<void()> changed);

  State Pump(const Source& source);

  LocalAnswer TakeAnswer() { return std::move(answer_); }
  Reason reason() const { return reason_; }
  const std::string& detail() const { return detail_; }

 private:
  TokenCall(FlowContext& flow, const RequestHead& head, std::vector<SecretSpec> secrets,
            std::function<void()> changed);
  State Choose();
  State AskForValue();
  void OnRenewed();
  State Conclude();
  State Refuse(const TokenRefusal& refusal);
  std::optional<std::string> Unavailable() const;

  FlowContext& flow_;
  const std::function<void()> changed_;
  const Headers headers_;
  std::vector<SecretSpec> secrets_;        // That it may mean; then the one that it does.
  std::vector<std::string> placeholders_;  // Theirs.
  State state_ = State::kReading;
  std::string body_;
  Pending renewing_;
  LocalAnswer answer_;
  Reason reason_ = Reason::kAnsweredByGate;
  std::string detail_;
};

}  // namespace sallyport::mitm
