#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::cli {

/// Where a command takes a secret's value from: --env NAME, --file FILE, or its input. Never an
/// argument, which every process of the host can read.
struct ValueSource {
  std::string variable;
  std::string file;
};

/// Adds the options to COMMAND.
std::shared_ptr<ValueSource> AddValueOptions(CLI::App& command);

/// The value in a file of memory; one newline at its end is not part of it. On a terminal it is asked
/// for without showing it.
Result<UniqueFd> ReadValue(const ValueSource& source);

}  // namespace sallyport::cli
