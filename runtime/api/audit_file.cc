#include "runtime/api/audit_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "runtime/api/control.h"

namespace sallyport {
namespace {

constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY;

/// Whether PATH is the file that is open as INFO says.
bool IsAt(const std::string& path, const struct stat& info) {
  struct stat there {};
  return stat(path.c_str(), &there) == 0 && there.st_dev == info.st_dev &&
         there.st_ino == info.st_ino;
}

}  // namespace

std::string AuditFile::PathOf(const std::string& path, unsigned number) {
  return number == 0 ? path : path + "." + std::to_string(number);
}

Result<UniqueFd> AuditFile::Open() {
  RotateIfFull();
  return OpenNow();
}

Result<UniqueFd> AuditFile::OpenNow() {
  UniqueFd file(open(path_.c_str(), kFlags, 0600));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("audit log " + path_));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno("audit log " + path_));
  device_ = info.st_dev;
  inode_ = info.st_ino;
  return file;
}

bool AuditFile::IsCurrent() const {
  struct stat there {};
  return stat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_;
}

Result<std::optional<UniqueFd>> AuditFile::Renew() {
  if (rotates_ == Rotates::kNo) return std::nullopt;
  RotateIfFull();
  if (IsCurrent()) return std::nullopt;
  auto file = OpenNow();
  if (!file) return tl::unexpected(std::move(file).error());
  return std::optional<UniqueFd>(*std::move(file));
}

/// One process renames at a time: the lock is on the file itself, and who gets it looks once more
/// whether it is still the one at the path. A failure leaves a file that is too large, never none.
void AuditFile::RotateIfFull() {
  if (rotates_ == Rotates::kNo) return;
  struct stat info {};
  if (stat(path_.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < limits_.bytes) {
    return;
  }
  const UniqueFd file(open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid() || flock(file.get(), LOCK_EX | LOCK_NB) != 0) return;
  if (fstat(file.get(), &info) != 0 || info.st_size < limits_.bytes || !IsAt(path_, info)) return;
  for (unsigned number = limits_.files; number > 0; --number) {
    const auto from = PathOf(path_, number - 1);
    if (rename(from.c_str(), PathOf(path_, number).c_str()) != 0 && errno != ENOENT) return;
  }
}

AuditRenewal::AuditRenewal(Loop& loop, std::string sandbox, AuditFile file)
    : loop_(loop), sandbox_(std::move(sandbox)), file_(std::move(file)) {
  timer_ = loop_.After(kCheck, [this] { Check(); });
}

void AuditRenewal::Check() {
  AuditFile next = file_;  // Only what the warden took counts as given.
  auto file = next.Renew();
  if (file && *file && AskSandbox(sandbox_, {"audit file", {}}, **file)) file_ = next;
  timer_ = loop_.After(kCheck, [this] { Check(); });
}

}  // namespace sallyport
