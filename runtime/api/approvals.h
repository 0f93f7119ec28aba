#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sallyport {

/// A question that a sandbox asks its user (`ask` in its policy). All texts may come from the guest.
struct ApprovalQuestion {
  std::string sandbox;  ///< Its id.
  std::string id;       ///< Within the sandbox.
  std::string kind;     ///< "https", "http", "tcp", "udp", "icmp".
  std::string host;
  std::string port;
  std::string method;  ///< Of a request; otherwise empty, as the next two.
  std::string path;    ///< With the query.
  std::string body_bytes;  ///< Empty where it is not known.
  std::string rule;        ///< What asks: "policy.lua:12".
  std::string message;
  std::string secrets;     ///< Names of those that the request would carry, "A,B".
  std::string body_start;  ///< Escaped, where the rule shows it.
  std::string waiting;  ///< How many flows or requests wait for the answer now.
  std::string age;      ///< Seconds since it was asked last.

  /// "POST https://api.stripe.com/v1/charges, 120 bytes, with STRIPE_KEY", printable.
  std::string Describe() const;
};

enum class ApprovalAnswer { kOnce, kSession, kDeny, kDenySession };

/// The open questions of SANDBOX (an id, or its beginning), or of all of this user's for an empty one.
Result<std::vector<ApprovalQuestion>> OpenQuestions(std::string_view sandbox);

/// Answers question ID, and returns it. kDenied with the sandbox's words where it is not open any more.
Result<ApprovalQuestion> AnswerQuestion(std::string_view sandbox, std::string_view id,
                                        ApprovalAnswer answer);

/// The rule that allows from now on just what QUESTION asks about: `allow.http { … }`. kUnsupported for
/// what no rule can say.
Result<std::string> RuleFor(const ApprovalQuestion& question);

/// Writes RULE, which RuleFor() made of QUESTION, into the policy FILE: before what asks there, as
/// the first rule that matches decides; otherwise at its end, also of a new file. Returns the line.
/// kInvalid, and nothing is written, where FILE has mistakes, or would have, or would not allow it
/// with RULE either.
Result<size_t> AddRule(const std::string& file, const std::string& rule,
                       const ApprovalQuestion& question);

}  // namespace sallyport
