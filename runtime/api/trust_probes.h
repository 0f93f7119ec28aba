#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sallyport {

/// How to find out whether one program trusts the gate. The answer that is looked for is the gate's
/// own refusal of a name that no policy grants: it can be read only after a handshake that was
/// trusted.
struct TrustProbe {
  const char* name;
  const char* program;  ///< Looked up in the sandbox's PATH.
  const char* command;  ///< For sh, with $url, $host and $home, which is the sandbox's
                        ///< HOME: its own is empty. Null: it is known, but not tried.
  const char* trusted;  ///< Extended regular expression: the output of one that trusts the gate.
  const char*
      cannot;       ///< The same: the program can't be tried as it is installed; null: always can.
  const char* by;   ///< What makes it trust the gate: variables, and the files without them.
  const char* fix;  ///< What to do where it does not.
};

std::span<const TrustProbe> TrustProbes();

/// Reserved (RFC 6761): nothing of that name can exist, and no query for it leaves the gate.
constexpr std::string_view kProbedHost = "trust-check.invalid";

/// A program for sh that tries each probe with the sandbox's variables and without any. It prints a
/// line for each program found: "NAME \t WITH \t WITHOUT \t SAID", both "yes", "no" or "?", and the
/// last line of what it printed where one of them is not "yes".
std::string TrustScript(std::span<const TrustProbe> probes);

}  // namespace sallyport
