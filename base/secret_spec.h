#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/host_name.h"
#include "base/secret_source.h"

namespace sallyport {

/// What a policy declares of a secret: everything but its value.
struct SecretSpec {
  enum class Foreign { kBlock, kStrip, kPass };
  enum class OnViolation { kDefault, kBlock, kPass, kTerminate };
  /// The bodies of requests where a placeholder may stand: JSON (application/json, +json), forms
  /// (application/x-www-form-urlencoded, multipart/form-data), or text (text/*) as it is.
  enum class Body { kNone, kJson, kForm, kText };

  std::string name;  ///< [A-Za-z_][A-Za-z0-9_]*: the variable the guest finds the placeholder in.
  SecretSource source;
  std::vector<HostPattern> hosts;  ///< Who may receive it. Never empty, never Any().
  /// Field names where a placeholder may stand; nothing for the default set.
  std::optional<std::vector<std::string>> headers;
  /// Field name and template with one "{}": set by the gate for a guest that holds nothing.
  std::vector<std::pair<std::string, std::string>> inject;
  bool query = false;                ///< A placeholder may stand in the query.
  bool path = false;                 ///< A placeholder may stand in the path.
  Body body = Body::kNone;           ///< And in bodies of this kind.
  std::vector<std::string> methods;  ///< Empty: all.
  std::vector<std::string> paths;    ///< Path globs of the policy language; empty: all.
  std::vector<uint16_t> ports;       ///< Empty: all.
  bool expose = true;                ///< The guest gets the placeholder in its environment.
  bool plaintext = false;            ///< May go over unencrypted HTTP.
  bool scrub = true;                 ///< Replaced in every answer; not for less than 8 bytes.
  Foreign foreign = Foreign::kBlock;
  OnViolation on_violation = OnViolation::kDefault;
  std::optional<std::string> placeholder;  ///< The form a user asked for; nothing for the default.
  std::string declared_at;                 ///< "policy.lua:12".
};

}  // namespace sallyport
