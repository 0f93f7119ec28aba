#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport {

/// One line of an audit log as a reader has it (docs/audit.md); what a line does not say is empty
/// or 0.
struct AuditLine {
  std::string time;
  std::string sandbox;
  uint64_t generation = 0;
  uint64_t flow = 0;
  std::string transport;
  std::string direction;  ///< "in": to a published port; else empty.
  std::string name;
  std::string address;
  uint16_t port = 0;
  std::string method;
  std::string path;
  int status = 0;
  std::string rule;
  std::string verdict;  ///< "allow", "deny"; empty for a line that tells of suppressed ones.
  std::string reason;
  bool learnt = false;
  bool by_policy = false;
  std::string detail;
  std::string level;  ///< "info", "warn": a line of the policy's own, with the next two.
  std::string message;
  std::string place;
  std::string how_to_allow;
  std::vector<std::string> secrets;
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
  uint64_t duration_us = 0;
  uint64_t repeat = 1;
  uint64_t suppressed_allow = 0;
  uint64_t suppressed_deny = 0;
  uint64_t suppressed_messages = 0;

  /// TEXT is one line. Nothing for what is no JSON object, and for members of other types.
  static std::optional<AuditLine> Parse(std::string_view text);

  /// The member KEY as text, for filters: "port" as "443". Nothing for a key that no line has.
  std::optional<std::string> Get(std::string_view key) const;
  /// The keys that Get() knows, in their order in a line.
  static const std::vector<std::string_view>& Keys();

  /// For people, without a newline.
  std::string ToText() const;
};

}  // namespace sallyport
