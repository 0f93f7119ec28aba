#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace sallyport {

struct PolicyReport {
  std::vector<std::string> messages;  ///< "policy.lua:12: error: …", all at once.
  bool valid = false;
};

/// Loads FILE as a sandbox would; starts nothing and reads no secret. Warns also of resolvers of this
/// host that the sandbox would use and that answer with made-up addresses.
Result<PolicyReport> CheckPolicy(const std::string& file);

/// What a policy decides of something that a guest might do.
struct PolicyAnswer {
  bool allowed = false;
  std::string text;  ///< Lines for a person: the verdict, what was looked at, what would change it.
};

/// Decides WORDS (`dns NAME`, `tcp HOST:PORT`, `udp HOST:PORT`, `icmp HOST`, `http METHOD URL`) by FILE; starts
/// nothing, resolves nothing and reads no secret. kInvalid when the file or the question is none.
Result<PolicyAnswer> ExplainPolicy(const std::string& file, const std::vector<std::string>& words);

/// The text of preset NAME; kNotFound names the ones there are.
Result<std::string> PresetText(const std::string& name);
/// "npm@1", by name.
std::vector<std::string> PresetNames();

/// The policy that the profile NAME is. kNotFound names the profiles that there are.
Result<std::string> ProfileText(const std::string& name);
std::vector<std::string> ProfileNames();

}  // namespace sallyport
