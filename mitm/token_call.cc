#include "mitm/token_call.h"

#include <algorithm>
#include <utility>

#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

using Kind = MessageEvent::Kind;

TokenRefusal BadRequest(Reason reason, int status, const std::string& why) {
  return {.error = "invalid_request",
          .refusal = {.reason = reason,
                      .status = status,
                      .detail = "the gate answers for this token endpoint, and " + why,
                      .rule = {},
                      .how_to_allow = {}}};
}

}  // namespace

std::unique_ptr<TokenCall> TokenCall::Of(FlowContext& flow, const RequestHead& head,
                                         std::function<void()> changed) {
  if (!flow.tls.encrypted) return nullptr;
  auto secrets = TokenSecretsFor(flow.gate().engine.secrets(), flow.Identity(),
                                 flow.facts().destination.port, head);
  std::erase_if(secrets, [&flow](const SecretSpec& secret) {
    return flow.gate().secrets.PlaceholderOf(secret.name) == nullptr;
  });
  if (secrets.empty()) return nullptr;
  return std::unique_ptr<TokenCall>(
      new TokenCall(flow, head, std::move(secrets), std::move(changed)));
}

TokenCall::TokenCall(FlowContext& flow, const RequestHead& head, std::vector<SecretSpec> secrets,
                     std::function<void()> changed)
    : flow_(flow),
      changed_(std::move(changed)),
      headers_(head.headers),
      secrets_(std::move(secrets)) {
  for (const SecretSpec& secret : secrets_) {
    placeholders_.push_back(*flow.gate().secrets.PlaceholderOf(secret.name));
  }
}

TokenCall::State TokenCall::Pump(const Source& source) {
  while (state_ == State::kReading) {
    const MessageEvent event = source(kInputBlock);
    switch (event.kind) {
      case Kind::kBody:
        if (body_.size() + event.piece.size() > kMaxTokenCall) {
          return Refuse(BadRequest(Reason::kLimit, 413, "a call of it is at most 64 KiB"));
        }
        body_.append(event.piece);
        break;
      case Kind::kEnd:
        return Choose();
      case Kind::kWouldBlock:
        return state_;
      case Kind::kError:
        return State::kBadBody;
      case Kind::kHead:
      case Kind::kBroken:
        return State::kGone;
    }
  }
  return state_;
}

/// Which of the secrets is meant.
TokenCall::State TokenCall::Choose() {
  TokenChoice choice;
  const auto choose = [&](const auto& parameters) -> Status {
    if (!parameters) return tl::unexpected(parameters.error());
    choice = ChooseTokenSecret(secrets_, placeholders_, *parameters);
    return {};
  };
  const bool oauth = std::holds_alternative<OAuth2Source>(secrets_.front().source);
  const Status read = oauth ? choose(ReadTokenParameters(headers_, body_))
                            : choose(ReadInstallationParameters(headers_, body_));
  if (!read) return Refuse(BadRequest(Reason::kBadRequest, 400, read.error().message()));
  if (choice.refusal) return Refuse(*choice.refusal);
  std::swap(secrets_.front(), secrets_[choice.chosen]);
  std::swap(placeholders_.front(), placeholders_[choice.chosen]);
  secrets_.erase(secrets_.begin() + 1, secrets_.end());
  return AskForValue();
}

TokenCall::State TokenCall::AskForValue() {
  const RenewSecrets& renew = flow_.gate().renew;
  if (!Unavailable() || !renew) return Conclude();
  state_ = State::kWaiting;
  renewing_ = renew({secrets_.front().name}, [this](bool) { OnRenewed(); });
  return state_;
}

void TokenCall::OnRenewed() {
  const auto changed = changed_;
  renewing_ = {};
  Conclude();
  changed();  // May destroy this.
}

TokenCall::State TokenCall::Conclude() {
  const SecretSpec& secret = secrets_.front();
  if (const auto why = Unavailable()) {
    return Refuse(
        {.error = "temporarily_unavailable",
         .refusal = {.reason = Reason::kSecretUnavailable,
                     .status = 502,
                     .detail = "the gate has no token for secret " + secret.name + " now: " + *why,
                     .rule = {},
                     .how_to_allow = {}}});
  }
  const auto& lifetime = flow_.gate().lifetime;
  const auto remaining = lifetime ? lifetime(secret.name) : std::nullopt;
  answer_ = MakeTokenAnswer(secret, placeholders_.front(), ToldLifetime(remaining),
                            std::chrono::system_clock::now());
  detail_ = "the placeholder of secret " + secret.name + " was given as the token";
  return state_ = State::kDone;
}

TokenCall::State TokenCall::Refuse(const TokenRefusal& refusal) {
  reason_ = refusal.refusal.reason;
  detail_ = refusal.refusal.detail;
  answer_ = MakeTokenRefusal(refusal, flow_.facts().flow, flow_.gate().secrets);
  return state_ = State::kDone;
}

/// Why the secret has no value; nothing when it has one.
std::optional<std::string> TokenCall::Unavailable() const {
  for (const auto& listed : flow_.gate().secrets.List()) {
    if (listed.name != secrets_.front().name) continue;
    if (listed.unavailable.empty()) return std::nullopt;
    return listed.unavailable;
  }
  return "it is not known";
}

}  // namespace sallyport::mitm
