#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// Writes TEXT to an existing file (of /proc, mostly) in one write; PATH is relative to DIRECTORY.
Status WriteFile(const std::string& path, std::string_view text, int directory = AT_FDCWD);

/// At most LIMIT bytes of a file.
Result<std::string> ReadFile(const std::string& path, size_t limit = 64 * 1024);
Result<std::string> ReadAll(int file, size_t limit);

/// Opens PATH as it is seen from inside the directory ROOT: "/" and every absolute link are ROOT,
/// nothing leads out of it. Invalid, with errno, when that fails.
UniqueFd OpenInRoot(int root, const std::string& path, int flags);

/// The same without following any link.
UniqueFd OpenPlain(int root, const std::string& path, int flags);

/// Creates FILE (relative to DIRECTORY) with TEXT. It must not exist.
Status CreateFile(int directory, const std::string& file, std::string_view text,
                  mode_t mode = 0644);

/// Copies the rest of FROM to a new file; at most LIMIT bytes (kLimit beyond).
Status CopyToFile(int from, int directory, const std::string& file, size_t limit,
                  mode_t mode = 0644);

/// Makes the directory PATH below DIRECTORY with all that lead there. Nothing of it may be a link.
Status MakeDirectories(int directory, const std::string& path, mode_t mode = 0755);

/// Whether PATH is DIRECTORY or lies below it; both absolute and resolved.
bool IsWithin(std::string_view path, std::string_view directory);

}  // namespace sallyport::runtime
