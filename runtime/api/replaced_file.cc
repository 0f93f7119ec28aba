#include "runtime/api/replaced_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace sallyport {

Result<ReplacedFile> ReplacedFile::Open(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string name = whole.filename();
  if (name.empty() || name == "." || name == "..") {
    return Fail(Code::kInvalid, "'" + path + "' names no file");
  }
  const std::string folder = whole.has_parent_path() ? whole.parent_path().string() : ".";
  UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return tl::unexpected(Error::FromErrno(folder));
  if (access(folder.c_str(), W_OK) != 0) return tl::unexpected(Error::FromErrno(folder));
  return ReplacedFile(path, name, std::move(fd));
}

Error ReplacedFile::Failed() const {
  return Error::FromErrno(path_);
}

Status ReplacedFile::Fill(const UniqueFd& file, std::string_view text) const {
  struct stat old {};
  if (fstatat(folder_.get(), name_.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISREG(old.st_mode)) {
    const bool other = old.st_uid != geteuid() || old.st_gid != getegid();
    if (other && fchown(file.get(), old.st_uid, old.st_gid) != 0) return tl::unexpected(Failed());
    if (fchmod(file.get(), old.st_mode & 07777) != 0) return tl::unexpected(Failed());
  }
  while (!text.empty()) {
    const ssize_t written = write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return tl::unexpected(Failed());
    text.remove_prefix(static_cast<size_t>(written));
  }
  if (fsync(file.get()) != 0) return tl::unexpected(Failed());
  return {};
}

Status ReplacedFile::Write(std::string_view text) const {
  const std::string temporary = "." + name_ + "." + std::to_string(getpid()) + ".new";
  const UniqueFd file(openat(folder_.get(), temporary.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!file.valid()) return tl::unexpected(Failed());
  Status status = Fill(file, text);
  if (status && renameat(folder_.get(), temporary.c_str(), folder_.get(), name_.c_str()) != 0) {
    status = tl::unexpected(Failed());
  }
  if (!status) unlinkat(folder_.get(), temporary.c_str(), 0);
  return status;
}

}  // namespace sallyport
