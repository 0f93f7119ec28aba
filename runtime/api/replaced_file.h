#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport {

/// A file that is written whole, or not at all: into a new file beside it, which then takes its
/// name. A reader sees the old text or the new one.
class ReplacedFile {
 public:
  /// Opens PATH's folder, so that a later change of what leads there, as by a program that writes
  /// into it meanwhile, makes no difference. PATH itself need not be there; a symbolic link at it
  /// is replaced, not followed.
  static Result<ReplacedFile> Open(const std::string& path);

  /// Makes TEXT the file's content. It keeps its mode and owner, where there was one; a new one has
  /// those of any file that the user makes.
  Status Write(std::string_view text) const;

  const std::string& path() const { return path_; }

 private:
  ReplacedFile(std::string path, std::string name, UniqueFd folder)
      : path_(std::move(path)), name_(std::move(name)), folder_(std::move(folder)) {}

  Status Fill(const UniqueFd& file, std::string_view text) const;
  Error Failed() const;

  std::string path_;
  std::string name_;
  UniqueFd folder_;
};

}  // namespace sallyport
