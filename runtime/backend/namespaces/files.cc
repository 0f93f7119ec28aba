#include "runtime/backend/namespaces/files.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace sallyport::runtime {
namespace {

// sendfile takes twice as long for files of this size.
constexpr size_t kCopyBuffer = 64 * 1024;

UniqueFd OpenAt2(int root, const std::string& path, int flags, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  const char* name = path.c_str();
  while (*name == '/') ++name;
  return UniqueFd(
      static_cast<int>(syscall(SYS_openat2, root, *name == '\0' ? "." : name, &how, sizeof how)));
}

}  // namespace

Status WriteFile(const std::string& path, std::string_view text, int directory) {
  const UniqueFd file(openat(directory, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

Result<std::string> ReadAll(int file, size_t limit) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t got = read(file, buffer, sizeof buffer);
    if (got < 0) return tl::unexpected(Error::FromErrno("reading"));
    if (got == 0) return text;
    if (text.size() + static_cast<size_t>(got) > limit) return Fail(Code::kLimit, "too long");
    text.append(buffer, static_cast<size_t>(got));
  }
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  auto text = ReadAll(file.get(), limit);
  if (!text) return tl::unexpected(std::move(text).error().In(path));
  return text;
}

UniqueFd OpenInRoot(int root, const std::string& path, int flags) {
  return OpenAt2(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

UniqueFd OpenPlain(int root, const std::string& path, int flags) {
  return OpenAt2(root, path, flags | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

Status CreateFile(int directory, const std::string& file, std::string_view text, mode_t mode) {
  const UniqueFd created(
      openat(directory, file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!created.valid()) return tl::unexpected(Error::FromErrno(file));
  if (write(created.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return tl::unexpected(Error::FromErrno(file));
  }
  return {};
}

Status CopyToFile(int from, int directory, const std::string& file, size_t limit, mode_t mode) {
  const UniqueFd to(
      openat(directory, file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!to.valid()) return tl::unexpected(Error::FromErrno(file));
  char buffer[kCopyBuffer];
  for (size_t copied = 0; copied <= limit;) {
    const ssize_t got = read(from, buffer, sizeof buffer);
    if (got < 0) return tl::unexpected(Error::FromErrno(file));
    if (got == 0) return {};
    if (write(to.get(), buffer, static_cast<size_t>(got)) != got) {
      return tl::unexpected(Error::FromErrno(file));
    }
    copied += static_cast<size_t>(got);
    if (static_cast<size_t>(got) < sizeof buffer)
      return {};  // These are small files: that was all.
  }
  return Fail(Code::kLimit, file + " is larger than " + std::to_string(limit) + " bytes");
}

Status MakeDirectories(int directory, const std::string& path, mode_t mode) {
  for (size_t end = path.find('/', 1); true; end = path.find('/', end + 1)) {
    const std::string prefix = path.substr(0, end);
    if (mkdirat(directory, prefix.c_str(), mode) != 0 && errno != EEXIST) {
      return tl::unexpected(Error::FromErrno(prefix));
    }
    if (end == std::string::npos) return {};
  }
}

bool IsWithin(std::string_view path, std::string_view directory) {
  if (directory == "/") return true;
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace sallyport::runtime
