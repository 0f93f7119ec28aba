#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret_spec.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// What the broker can give values from, held open from before it confined itself.
class Sources {
 public:
  /// Opens the files of `file` sources and drains VALUES (NAME, NUL, value, NUL, …). A source that
  /// can't be opened is remembered with its reason: asking for it says why.
  static Sources Open(const std::vector<SecretSpec>& specs, UniqueFd values);

  /// The value of secret NAME. A file's one trailing newline is not part of it. kNotFound says what is
  /// missing ("variable GITHUB_TOKEN is not set"), kLimit a file over 64 KiB.
  Result<std::string> Read(std::string_view name) const;

 private:
  struct Source {
    SecretSource::Kind kind = SecretSource::Kind::kEnv;
    std::string argument;
    UniqueFd file;
    std::string problem;
  };
  std::map<std::string, Source, std::less<>> sources_;
  std::map<std::string, std::string, std::less<>> values_;  // By variable.
};

}  // namespace sallyport::runtime
