#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/api/audit_line.h"

namespace sallyport {

/// Which lines of an audit log are wanted.
///
///     KEY=VALUE       a key of the log; "port=443", "reason=denied_by_rule", "rule=policy.lua:12"
///     host=NAME       the name, or the address; "*.example.com" is all names below that
///     secret=NAME     one of the secrets
///     since=TIME      at TIME or later: "2026-05-01", "2026-05-01T12:00:00Z", or "10m" ago (s, m,
///     h, d) until=TIME      before TIME
///
/// Of several with one key any must hold, of several keys all; of the times all.
struct AuditFilter {
  using Time = std::chrono::system_clock::time_point;

  std::string sandbox;  ///< Its id, or the beginning; empty: all.

  /// Adds one of the above; times ago are before NOW. kInvalid names the keys for one that is none,
  /// and says what a value must be.
  Status Add(std::string_view text, Time now);
  bool Matches(const AuditLine& line) const;

 private:
  Status AddTime(std::string_view key, std::string_view value, Time now);

  std::vector<std::pair<std::string, std::string>> fields_;
  std::string since_;  // As a line has its time; compared as text.
  std::string until_;
};

}  // namespace sallyport
