#include "guest/agent/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sallyport::guest {
namespace {

// What is added to a file that was read, a certificate for one, costs no copy of the rest.
constexpr size_t kRoomToGrow = size_t{4} * 1024;

bool IsRefusal(int error) {
  return error == EEXIST || error == EROFS || error == EACCES || error == EPERM;
}

Error FileError(const char* path) {
  const Code code = errno == ENOENT || errno == ENOTDIR ? Code::kNotFound
                    : IsRefusal(errno)                  ? Code::kDenied
                                                        : Code::kSystem;
  return {code, Error::FromErrno(path).message()};
}

Status CheckRegular(const UniqueFd& fd, const char* path) {
  struct stat status;
  if (fstat(fd.get(), &status) != 0) return tl::unexpected(Error::FromErrno(path));
  if (!S_ISREG(status.st_mode)) return Fail(Code::kInvalid, std::string(path) + ": not a file");
  return {};
}

Result<UniqueFd> OpenRegular(const char* path, int flags) {
  // O_NONBLOCK: opening a FIFO must not wait for its other end.
  UniqueFd fd(open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return tl::unexpected(FileError(path));
  if (Status regular = CheckRegular(fd, path); !regular) {
    return tl::unexpected(std::move(regular).error());
  }
  return fd;
}

/// The last SIZE bytes of FD, or all where it has less.
Result<std::string> ReadEnd(const UniqueFd& fd, size_t size, const char* path) {
  const off_t length = lseek(fd.get(), 0, SEEK_END);
  if (length < 0) return tl::unexpected(Error::FromErrno(path));
  std::string end(std::min(size, static_cast<size_t>(length)), '\0');
  const ssize_t got =
      pread(fd.get(), end.data(), end.size(), length - static_cast<off_t>(end.size()));
  if (got < 0) return tl::unexpected(Error::FromErrno(path));
  end.resize(static_cast<size_t>(got));
  return end;
}

Status WriteAll(const UniqueFd& fd, std::string_view bytes, const char* path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return tl::unexpected(Error::FromErrno(path));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

}  // namespace

Result<ReadableFile> OpenToRead(const char* path, size_t limit) {
  auto fd = OpenRegular(path, O_RDONLY);
  if (!fd) return tl::unexpected(std::move(fd).error());
  const off_t length = lseek(fd->get(), 0, SEEK_END);
  if (length < 0) return tl::unexpected(Error::FromErrno(path));
  const auto size = static_cast<size_t>(length);
  if (size > limit) return Fail(Code::kLimit, std::string(path) + ": too long");
  return ReadableFile{*std::move(fd), size};
}

bool ReadAt(const UniqueFd& fd, size_t offset, std::span<char> buffer) {
  while (!buffer.empty()) {
    const ssize_t got = pread(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    offset += static_cast<size_t>(got);
    buffer = buffer.subspan(static_cast<size_t>(got));
  }
  return true;
}

Result<std::string> ReadSmallFile(const char* path, size_t limit) {
  auto file = OpenToRead(path, limit);
  if (!file) return tl::unexpected(std::move(file).error());
  std::string content;
  content.reserve(file->size + kRoomToGrow);
  content.resize(file->size);
  for (size_t size = 0; size < content.size();) {
    const ssize_t got = pread(file->fd.get(), content.data() + size, content.size() - size,
                              static_cast<off_t>(size));
    if (got < 0) return tl::unexpected(Error::FromErrno(path));
    size += static_cast<size_t>(got);
    if (got == 0) content.resize(size);  // Somebody cuts it while we read.
  }
  return content;
}

Status AppendOnce(const char* path, std::string_view lines) {
  auto fd = OpenRegular(path, O_RDWR | O_APPEND);
  if (!fd) return tl::unexpected(std::move(fd).error());
  auto end = ReadEnd(*fd, lines.size(), path);
  if (!end) return tl::unexpected(std::move(end).error());
  if (*end == lines) return {};
  const bool cut = !end->empty() && !end->ends_with('\n');
  return WriteAll(*fd, (cut ? "\n" : "") + std::string(lines), path);
}

Status CreateFile(const char* path, std::string_view bytes) {
  // O_EXCL takes no symbolic link either.
  const UniqueFd fd(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd.valid()) return tl::unexpected(FileError(path));
  return WriteAll(fd, bytes, path);
}

Status PlaceFile(const std::string& path, std::string_view bytes) {
  const size_t slash = path.rfind('/');
  if (slash > 0) {
    auto made = MakeDirectories(std::string_view(path).substr(0, slash));
    if (!made) return made;
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return tl::unexpected(FileError(path.c_str()));
  return CreateFile(path.c_str(), bytes);
}

Status WriteParts(const char* path, std::initializer_list<FilePart> parts) {
  auto fd = OpenRegular(path, O_WRONLY);
  if (!fd) return tl::unexpected(std::move(fd).error());
  for (const FilePart& part : parts) {
    if (lseek(fd->get(), static_cast<off_t>(part.offset), SEEK_SET) < 0) {
      return tl::unexpected(Error::FromErrno(path));
    }
    if (Status written = WriteAll(*fd, part.bytes, path); !written) return written;
  }
  return {};
}

Status MakeDirectories(std::string_view path) {
  for (size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string prefix(path.substr(0, end));
    if (mkdir(prefix.c_str(), 0755) != 0 && errno != EEXIST) {
      return tl::unexpected(FileError(prefix.c_str()));
    }
    if (end == std::string_view::npos) return {};
  }
}

}  // namespace sallyport::guest
