#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace sallyport::policy {

/// COUNT uses in any stretch of PER, as a bucket that holds COUNT and fills evenly.
struct Rate {
  uint32_t count = 0;
  std::chrono::milliseconds per{0};
  bool operator==(const Rate&) const = default;
};

/// How much of something a rule grants: `rate`, `connections`, `bytes`, `lifetime`. A use is a
/// request (http), a flow (tcp, udp, icmp) or a query (dns).
struct RuleBudget {
  std::string rule;  ///< Whose it is: "policy.lua:12", or the rule's name; "sandbox".
  std::optional<Rate> rate;
  std::optional<uint32_t> connections;                ///< Uses under way at once.
  std::optional<uint64_t> bytes_up;                   ///< From the guest, in all.
  std::optional<uint64_t> bytes_down;                 ///< To the guest, in all.
  std::optional<std::chrono::milliseconds> lifetime;  ///< Of one use.
  bool operator==(const RuleBudget&) const = default;
};

using RuleBudgetPtr = std::shared_ptr<const RuleBudget>;

}  // namespace sallyport::policy
