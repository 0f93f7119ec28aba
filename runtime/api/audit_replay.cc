#include "runtime/api/audit_replay.h"

#include <algorithm>
#include <array>

#include "policy/dns_records.h"
#include "runtime/api/files.h"

namespace sallyport {
namespace {

using policy::Question;

// Reasons that are the policy's own word.
constexpr std::array kDenied = {"not_granted", "denied_by_rule", "denied_by_hook", "policy_error",
                                "name_not_granted"};
// What can only happen after the policy said yes.
constexpr std::array kAllowed = {"allowed",          "answered_by_gate", "name_not_found",
                                 "resolver_failed",  "upstream_refused", "upstream_unreachable",
                                 "upstream_timeout", "upstream_tls",     "proxy_refused",
                                 "proxy_timeout",    "upstream_protocol"};

template <class Words>
bool Has(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

std::string HostOf(const AuditLine& line) {
  if (!line.name.empty()) return line.name;
  return line.address.find(':') == std::string::npos ? line.address : "[" + line.address + "]";
}

PolicySaid WhatPolicySaid(const AuditLine& line) {
  if (line.by_policy) return PolicySaid::kNothing;  // A callback's own fetch.
  // A published port: the address is that of a client, which no policy was asked about.
  if (!line.direction.empty()) return PolicySaid::kNothing;
  if (Has(kDenied, line.reason)) return PolicySaid::kNo;
  return Has(kAllowed, line.reason) ? PolicySaid::kYes : PolicySaid::kNothing;
}

namespace {

bool IsAddressType(std::string_view type) {
  return type == "A" || type == "AAAA";
}

/// Types that no policy can grant: their lines say nothing of one.
bool IsNeverGranted(std::string_view type) {
  const auto number = policy::dns::ParseTypeName(type);
  return !number || (!IsAddressType(type) && !policy::dns::IsGrantableType(*number));
}

/// What could be asked of a policy instead of LINE; empty where nothing can.
std::vector<std::string> WordsOf(const AuditLine& line) {
  const std::string host = HostOf(line);
  if (host.empty()) return {};
  if (line.transport == "dns") {
    if (IsAddressType(line.method)) return {"dns", host};
    return {"dns", host, line.method};
  }
  const std::string authority = host + ":" + std::to_string(line.port);
  if (line.transport == "icmp") return {"icmp", host};
  if (line.transport == "tcp" || line.transport == "udp") return {line.transport, authority};
  if (line.transport != "http" && line.transport != "https") return {};
  // TLS passed through, and a tunnel that was refused, are flows.
  if (line.method.empty() || line.method == "CONNECT") return {"tcp", authority};
  if (!line.path.starts_with('/') || line.path.ends_with("…")) return {};
  return {"http", line.method, line.transport + "://" + authority + line.path};
}

}  // namespace

std::optional<Recorded> RecordedOf(const AuditLine& line) {
  const PolicySaid said = WhatPolicySaid(line);
  if (said == PolicySaid::kNothing) return std::nullopt;
  const bool denied = said == PolicySaid::kNo;
  if (line.transport == "dns" && IsNeverGranted(line.method)) return std::nullopt;
  const auto words = WordsOf(line);
  if (words.empty()) return std::nullopt;
  auto question = Question::Parse(words);
  if (!question) return std::nullopt;
  Recorded recorded;
  recorded.question = *std::move(question);
  recorded.words = words.front() == "http" ? words[1] : words[0] + " " + words[1];
  if (words.size() == 3) recorded.words += " " + words[2];
  recorded.allowed = !denied;
  recorded.rule = line.rule;
  return recorded;
}

Recording ReadRecording(std::string_view log) {
  Recording recording;
  std::set<std::pair<std::string, bool>> seen;
  for (const auto text : Lines(log)) {
    if (text.empty()) continue;
    ++recording.lines;
    const auto line = AuditLine::Parse(text);
    if (!line) {
      ++recording.unread;
      continue;
    }
    auto recorded = RecordedOf(*line);
    if (!recorded || !seen.emplace(recorded->words, recorded->allowed).second) continue;
    recording.decisions.push_back(*std::move(recorded));
  }
  return recording;
}

}  // namespace sallyport
