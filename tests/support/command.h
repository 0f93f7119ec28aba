#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace sallyport::testing {

/// What the shell's COMMAND prints, stdout and stderr; behind it "failed: " and its status if that is not 0.
inline std::string Run(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  while (fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) {
    output += buffer.data();
  }
  const int status = pclose(pipe);
  return status == 0 ? output : output + "failed: " + std::to_string(status);
}

/// Whether PROGRAM is installed; a test that needs it passes without one that is not.
inline bool Have(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace sallyport::testing
