#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// One number of a sandbox's (docs/flows.md).
struct SandboxNumber {
  std::string name;                                           ///< "sallyport_drops_total".
  std::vector<std::pair<std::string, std::string>> labels{};  ///< Without the sandbox's.
  std::string value;                                          ///< A decimal number.
};

struct SandboxStats {
  std::string sandbox;
  std::vector<SandboxNumber> numbers;
};

/// Of SANDBOX (an id, or its beginning), or of all of this user's for an empty one. kNotFound when
/// there is no such sandbox.
Result<std::vector<SandboxStats>> StatsOf(std::string_view sandbox);

/// The text format of Prometheus, 0.0.4: each metric once, with its help and type, and a label
/// `sandbox` at each number.
std::string ToPrometheus(const std::vector<SandboxStats>& stats);
/// One JSON object for each sandbox, a line each:
/// {"sandbox":…,"numbers":[{"name":…,"labels":{…},"value":…},…]}.
std::string ToJson(const std::vector<SandboxStats>& stats);

}  // namespace sallyport
