#pragma once

#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::guest {

/// Small files of the image, whose content is hostile: a FIFO or a device in a file's place is
/// refused instead of waited for.

/// The content of the regular file PATH. kNotFound if there is none, kLimit if it is longer than
/// LIMIT, kInvalid if it is not a regular file.
Result<std::string> ReadSmallFile(const char* path, size_t limit);

struct ReadableFile {
  UniqueFd fd;
  size_t size = 0;
};
/// The regular file PATH, to be read in pieces; errors as above.
Result<ReadableFile> OpenToRead(const char* path, size_t limit);

/// Fills BUFFER from OFFSET on; false where the file has less by now, or can't be read.
bool ReadAt(const UniqueFd& fd, size_t offset, std::span<char> buffer);

/// Adds LINES to the end of the regular file PATH, which must exist (kNotFound), on a line of their
/// own, unless they are its end already. The rest of the file is not read. kDenied if it can't be
/// written.
Status AppendOnce(const char* path, std::string_view lines);

/// Makes the file PATH, which must not exist (kDenied if it does), with mode 0644.
Status CreateFile(const char* path, std::string_view bytes);

/// Makes the file PATH with mode 0644, and the directories above it, in place of the file or link
/// that is there.
Status PlaceFile(const std::string& path, std::string_view bytes);

/// Bytes of a file, and where they are.
struct FilePart {
  size_t offset;
  std::string_view bytes;
};
/// Writes PARTS over what the regular file PATH, which must exist, has there, or behind its end.
Status WriteParts(const char* path, std::initializer_list<FilePart> parts);

/// Makes the directory PATH, an absolute one, and those above it, where they are missing.
Status MakeDirectories(std::string_view path);

}  // namespace sallyport::guest
