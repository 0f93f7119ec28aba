#pragma once

#include <sys/types.h>

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/api/audit_filter.h"
#include "runtime/api/audit_line.h"

namespace sallyport {

/// Reads an audit log, the oldest file first, and goes on with what is appended, also to files that
/// were renamed meanwhile (AuditFile): every whole line comes once.
class AuditReader {
 public:
  /// TEXT is the line, without its newline.
  using OnLine = std::function<void(std::string_view text, const AuditLine& line)>;

  explicit AuditReader(std::string path) : path_(std::move(path)) {}

  /// Calls ON_LINE for each line that has come since the last call. kNotFound when there is no
  /// file.
  Status Read(const OnLine& on_line);
  /// Lines that were none.
  size_t unread() const { return unread_; }

 private:
  struct File {
    UniqueFd fd;
    dev_t device = 0;
    ino_t inode = 0;
    std::string rest;                          ///< A line's beginning.
    std::optional<Clock::time_point> renamed;  ///< When another file was first seen in its place.

    bool IsSame(const File& other) const { return device == other.device && inode == other.inode; }
  };

  bool Knows(const File& file) const;
  std::list<File> Scan() const;
  void FindFiles();
  Status ReadFile(File& file, const OnLine& on_line);

  const std::string path_;
  std::list<File> files_;  // The oldest first.
  size_t unread_ = 0;
};

/// The audit log of this user, where no --audit says another.
Result<std::string> DefaultAuditFile();

/// What was refused on FLOW ("sp-h2k/7", or "7" for the latest sandbox that has it), the last of
/// it, as the guest was told. With POLICY, a file or a pipe, or while the sandbox runs, the line of
/// the rule, too. kNotFound where nothing was refused; an error, too, where POLICY can't be read.
Result<std::string> ExplainFlow(const std::string& audit, const std::string& flow,
                                const std::optional<std::string>& policy);

}  // namespace sallyport
