#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "base/approval_spec.h"
#include "base/pending.h"
#include "runtime/broker/http_client.h"
#include "runtime/broker/messages.h"
#include "runtime/broker/sources.h"

namespace sallyport::runtime {

/// The user's server that answers questions: each is one POST of a JSON document, and the answer is
/// in the response to that (docs/approvals.md). No redirect is followed, nothing is asked twice.
class Webhook {
 public:
  /// All outlive it, and it every Pending.
  Webhook(Loop& loop, HttpClient& http, const Sources& sources, ApprovalWebhook spec,
          std::chrono::milliseconds timeout)
      : loop_(loop), http_(http), sources_(sources), spec_(std::move(spec)), timeout_(timeout) {}

  /// Errors say why there is no answer, without the URL's path, which may be a credential.
  Pending Ask(std::string_view document, std::function<void(Result<ApprovalAnswer>)> done);

 private:
  Loop& loop_;
  HttpClient& http_;
  const Sources& sources_;
  const ApprovalWebhook spec_;
  const std::chrono::milliseconds timeout_;
};

/// "t=TIME,v1=HEX": HEX is the HMAC-SHA256 (RFC 2104) of "TIME.DOCUMENT" with KEY, TIME in seconds
/// since 1970, so that a question that was overheard can't be told again much later.
std::string SignQuestion(std::string_view key, std::chrono::system_clock::time_point now,
                         std::string_view document);

/// What RESPONSE says. An answer has status 200.
Result<ApprovalAnswer> ReadWebhookAnswer(const HttpAnswer& response);

/// "https://host[:port]" of URL.
std::string OriginOf(const HttpUrl& url);

}  // namespace sallyport::runtime
