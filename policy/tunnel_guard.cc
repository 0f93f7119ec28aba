#include "policy/tunnel_guard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace sallyport::policy {
namespace {

// NAME without its last two labels, which nobody makes up.
std::string_view PrefixOf(std::string_view name) {
  for (int labels = 0; labels < 2; ++labels) {
    const size_t dot = name.rfind('.');
    if (dot == name.npos) return {};
    name = name.substr(0, dot);
  }
  return name;
}

bool HasRandomLabel(std::string_view prefix) {
  while (!prefix.empty()) {
    const size_t dot = std::min(prefix.find('.'), prefix.size());
    const std::string_view label = prefix.substr(0, dot);
    if (label.size() >= TunnelGuard::kLongLabel &&
        TunnelGuard::Entropy(label) > TunnelGuard::kMaxEntropy) {
      return true;
    }
    prefix.remove_prefix(std::min(dot + 1, prefix.size()));
  }
  return false;
}

Refusal Refused(const HostName& name, const std::string& why) {
  return {.reason = Reason::kDnsTunnel,
          .status = 403,
          .detail = name.text() + " is not resolved: " + why,
          .rule = {},
          .how_to_allow = "allow.dns { host = \"" + name.text() + "\" }"};
}

}  // namespace

double TunnelGuard::Entropy(std::string_view text) {
  std::array<unsigned, 256> counts{};
  for (const char c : text) ++counts[static_cast<unsigned char>(c)];
  double entropy = 0;
  for (const unsigned count : counts) {
    if (count == 0) continue;
    const double part = count / static_cast<double>(text.size());
    entropy -= part * std::log2(part);
  }
  return entropy;
}

std::optional<Refusal> TunnelGuard::Check(const HostName& name, Clock::time_point now) {
  if (known_.contains(name.text())) return std::nullopt;
  const std::string_view prefix = PrefixOf(name.text());
  if (prefix.size() > kMaxPrefix) {
    return Refused(name, "below a wildcard a name has at most " + std::to_string(kMaxPrefix) +
                             " bytes before its last two labels");
  }
  if (HasRandomLabel(prefix)) {
    return Refused(name, "it looks like data, and it is granted by a wildcard only");
  }
  if (filled_ && now > *filled_) {
    const std::chrono::duration<double> passed = now - *filled_;
    tokens_ = std::min(kBurst, tokens_ + kNewNamesPerSecond * passed.count());
  }
  filled_ = filled_ ? std::max(*filled_, now) : now;
  if (tokens_ < 1) {
    Refusal refusal = Refused(name, "too many new names below wildcards; try again in 1 s");
    refusal.status = 429;
    refusal.retry_after = std::chrono::seconds(1);
    return refusal;
  }
  tokens_ -= 1;
  if (known_.size() >= kRemembered) known_.clear();
  known_.insert(name.text());
  return std::nullopt;
}

}  // namespace sallyport::policy
