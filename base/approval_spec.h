#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/http_url.h"
#include "base/secret_source.h"

namespace sallyport {

struct ApprovalWebhook {
  HttpUrl url;
  std::optional<PlainSource> key;  ///< EnvSource or FileSource; what questions are signed with.
  bool private_network = false;    ///< The server may have a private address, or be this host.
  bool operator==(const ApprovalWebhook&) const = default;
};

/// Who is asked besides the user at `sandboxctl approvals` (`sandbox { approvals = { … } }`).
struct ApprovalSpec {
  std::optional<ApprovalWebhook> webhook;
  std::optional<CommandSource> command;          ///< Its lifetime means nothing.
  std::chrono::milliseconds timeout = kTimeout;  ///< How long each may take to answer.

  static constexpr std::chrono::seconds kTimeout{60};
  static constexpr std::chrono::minutes kMaxTimeout{10};
  bool operator==(const ApprovalSpec&) const = default;
};

}  // namespace sallyport
