#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

/// The file of an audit log, which all sandboxes of a user may write to at once, each through a
/// descriptor of its own. A file past a size is renamed to FILE.1, what was FILE.1 to FILE.2, and
/// so on; the last one goes. Who still writes into a renamed file loses nothing: it is kept until
/// kFiles later ones were filled, and every sandbox's owner looks for a new one all kCheck.
class AuditFile {
 public:
  struct Limits {
    off_t bytes = off_t{64} << 20;  ///< Some 200,000 lines. May be exceeded by what kCheck brings.
    unsigned files = 4;             ///< Kept besides the one in use.
  };
  /// Whether a file past the size is renamed. Not where a sandbox can see the folder: what hides
  /// the log from it hides one file, not those that come later.
  enum class Rotates { kNo, kYes };

  AuditFile(std::string path, Rotates rotates, Limits limits)
      : path_(std::move(path)), rotates_(rotates), limits_(limits) {}
  AuditFile(std::string path, Rotates rotates) : AuditFile(std::move(path), rotates, Limits()) {}

  /// The file, for appending; made where there is none, for the user alone.
  Result<UniqueFd> Open();
  /// Another descriptor where another file is at the path than Open() or this has last given, or
  /// comes to be there because this one is full. Errors leave everything as it was.
  Result<std::optional<UniqueFd>> Renew();

  const std::string& path() const { return path_; }

  /// FILE, or FILE.NUMBER for NUMBER from 1.
  static std::string PathOf(const std::string& path, unsigned number);

 private:
  void RotateIfFull();
  Result<UniqueFd> OpenNow();
  bool IsCurrent() const;

  std::string path_;
  Rotates rotates_;
  Limits limits_;
  dev_t device_ = 0;  // Of the file that was last given.
  ino_t inode_ = 0;
};

/// While a sandbox runs: gives its warden the new file whenever there is one.
class AuditRenewal {
 public:
  static constexpr std::chrono::seconds kCheck{2};

  /// LOOP outlives it.
  AuditRenewal(Loop& loop, std::string sandbox, AuditFile file);

 private:
  void Check();

  Loop& loop_;
  const std::string sandbox_;
  AuditFile file_;
  Loop::Handle timer_;
};

}  // namespace sallyport
