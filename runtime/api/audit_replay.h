#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "policy/question.h"
#include "runtime/api/audit_line.h"

namespace sallyport {

/// A decision of a policy, as an audit log recorded it.
struct Recorded {
  policy::Question question;
  std::string words;  ///< "GET https://api.example.com/x", "tcp db.internal:5432", "dns a.example".
  bool allowed = false;
  std::string rule;
};

/// What the policy said of that which LINE is about.
enum class PolicySaid {
  kNothing,  ///< It was decided elsewhere: placeholders, TLS that failed, limits, commands, addresses;
             ///< or it came in through a published port.
  kYes,      ///< Also where it failed upstream afterwards.
  kNo,
};
PolicySaid WhatPolicySaid(const AuditLine& line);

/// The host of LINE, as an authority has it.
std::string HostOf(const AuditLine& line);

/// What LINE says of the policy. Nothing for what was decided elsewhere, before or behind the
/// policy: placeholders, TLS that failed, limits, commands, addresses; and for a path that was cut.
/// A request that the policy let through and that failed upstream was allowed. The log has no query
/// and no headers, so the question has none either.
std::optional<Recorded> RecordedOf(const AuditLine& line);

/// The decisions recorded in LOG, the text of an audit log, each once.
struct Recording {
  std::vector<Recorded> decisions;
  size_t lines = 0;   ///< All lines.
  size_t unread = 0;  ///< Those that are no audit lines.
};
Recording ReadRecording(std::string_view log);

}  // namespace sallyport
