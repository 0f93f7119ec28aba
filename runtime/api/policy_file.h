#pragma once

#include <memory>
#include <string>

#include "policy/engine.h"

namespace sallyport {

/// The text of policy FILE, with the name and the folder that its messages and paths start from.
Result<policy::Engine::Source> ReadPolicySource(const std::string& file);

/// SOURCE loaded, with stand-ins for the placeholders of its secrets; reads no secret. kInvalid
/// with all its mistakes, one a line.
Result<std::unique_ptr<policy::Engine>> LoadForQuestions(const policy::Engine::Source& source);

}  // namespace sallyport
