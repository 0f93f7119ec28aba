#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/engine.h"

namespace sallyport::policy {

/// What a user asks about a policy: "would this be allowed?"
struct Question {
  enum class Kind { kName, kFlow, kRequest };
  Kind kind = Kind::kName;
  Facts facts;          ///< A named flow has no address: nothing is resolved.
  RequestHead request;  ///< For kRequest.
  /// For kRequest: what callbacks that read the body are given; nothing: not known, so that they wait.
  std::optional<std::string> body;
  uint16_t type = 1;    ///< For kName: a DNS record type; A where only the name is meant.

  /// WORDS are `dns NAME`, `dns NAME TYPE`, `tcp HOST:PORT`, `udp HOST:PORT`,
  /// `icmp HOST`, `http METHOD URL`, or a URL alone, for GET. kInvalid says what is wrong and shows
  /// the form.
  static Result<Question> Parse(const std::vector<std::string>& words);
};

struct Answer {
  bool allowed = false;
  std::string rule;    ///< What decided: "policy.lua:12", or a rule's name. Empty for the default.
  std::string reason;  ///< Stable code ("denied_by_rule"); "allowed".
  std::string detail;  ///< One sentence.
  /// Not known here: the user is asked, or a callback waits.
  bool waits = false;
  std::string
      place;  ///< Where it stands what asks the user: "policy.lua:12"; empty where nobody is asked.
  std::string how_to_allow;  ///< The smallest change that would allow it; may be empty.
  std::vector<std::string>
      steps;  ///< What was looked at, in order: "name: …", "flow: …", "request: …".
  std::vector<std::string> secrets;  ///< Names of the secrets whose `hosts` have the name.
};

/// Decides QUESTION as a running gate would, callbacks included. What a running gate also looks at,
/// and nobody can know before, is left open and said in the steps: the addresses of a name.
Answer Decide(Engine& engine, Question question);

/// Gives each secret of ENGINE a placeholder that only looks like one, so that callbacks which use
/// a secret can be asked about outside of a sandbox.
void GivePlaceholders(Engine& engine);

}  // namespace sallyport::policy
