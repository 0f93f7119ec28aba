#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret_source.h"
#include "base/unique_fd.h"
#include "runtime/broker/variables.h"
#include "runtime/broker/wiped.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// Variables, in locked memory, and files, held open from before the broker confined itself.
class Sources {
 public:
  /// Opens the files that SOURCES are made from, and keeps copies of those of
  /// VARIABLES that they name. A file that can't be opened, or a value that can't be kept,
  /// is remembered with its reason: asking for it says why.
  static Sources Open(const std::vector<SecretSource>& sources, const Variables& variables);

  /// kNotFound: "variable GITHUB_TOKEN is not set"; or why its value can't be kept: kInvalid (it is
  /// empty, or longer than 64 KiB), kLimit (memory can't be locked).
  Result<Wiped> Read(const EnvSource& source) const;
  /// Without its one trailing newline. kNotFound says what is wrong with the file, kLimit that it
  /// is larger than 64 KiB.
  Result<Wiped> Read(const FileSource& source) const;

 private:
  struct File {
    UniqueFd file;
    std::string problem;
  };
  std::map<std::string, File, std::less<>> files_;                         // By path.
  std::map<std::string, Result<secrets::Secret>, std::less<>> variables_;  // By name.
};

/// The content of FILE, which PATH names in messages, without its one trailing newline.
Result<Wiped> ReadValue(int file, const std::string& path);

}  // namespace sallyport::runtime
