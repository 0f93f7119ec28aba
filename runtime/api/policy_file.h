#pragma once

#include <memory>
#include <string>

#include "policy/engine.h"

namespace sallyport {

/// The text of policy FILE, with the name and the folder that its messages and paths start from.
Result<policy::Engine::Source> ReadPolicySource(const std::string& file);

/// The same for a file that the user names himself, which may be a pipe (`-f <(...)`): then paths in it
/// start from the current folder, and messages call it kPipeName where it has no name of its own.
Result<policy::Engine::Source> ReadGivenPolicy(const std::string& file);
inline constexpr char kPipeName[] = "(pipe)";

/// SOURCE loaded, with stand-ins for the placeholders of its secrets; reads no secret. kInvalid
/// with all its mistakes, one a line.
Result<std::unique_ptr<policy::Engine>> LoadForQuestions(const policy::Engine::Source& source);

}  // namespace sallyport
