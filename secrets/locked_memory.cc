#include "secrets/locked_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

namespace sallyport::secrets {
namespace {

/// Whole pages, so that nothing else lives, or is dumped, beside a value.
size_t MappedSize(size_t size) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

std::string LockLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "unknown";
  if (limit.rlim_cur == RLIM_INFINITY) return "none";
  return std::to_string(limit.rlim_cur / 1024) + " KiB";
}

/// Why mlock failed. All of its errors but a wrong address are a form of the limit.
tl::unexpected<Error> LockFailed() {
  if (errno != ENOMEM && errno != EPERM && errno != EAGAIN) {
    return tl::unexpected<Error>(Error::FromErrno("mlock of a secret's memory"));
  }
  return Fail(Code::kLimit,
              "no memory can be locked for a secret (the limit is " + LockLimit() +
                  "): raise it with `ulimit -l`, or LimitMEMLOCK= where systemd starts this");
}

Status Protect(char* pages, size_t size) {
  if (mlock(pages, size) != 0) return LockFailed();
  if (madvise(pages, size, MADV_DONTDUMP) != 0) {
    return tl::unexpected<Error>(Error::FromErrno("madvise(MADV_DONTDUMP)"));
  }
  if (madvise(pages, size, MADV_WIPEONFORK) != 0) {
    return tl::unexpected<Error>(Error::FromErrno("madvise(MADV_WIPEONFORK)"));
  }
  return {};
}

}  // namespace

Result<LockedMemory> LockedMemory::Create(size_t size) {
  void* pages =
      mmap(nullptr, MappedSize(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return tl::unexpected<Error>(Error::FromErrno("mmap for a secret"));
  LockedMemory memory(static_cast<char*>(pages), size);
  Status protection = Protect(memory.pages_, MappedSize(size));
  if (!protection) return tl::unexpected(std::move(protection).error());
  return memory;
}

LockedMemory::LockedMemory(LockedMemory&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LockedMemory& LockedMemory::operator=(LockedMemory&& other) noexcept {
  // What was here goes with OTHER's new content, wiped as ever.
  std::swap(pages_, other.pages_);
  std::swap(size_, other.size_);
  return *this;
}

LockedMemory::~LockedMemory() {
  if (pages_ == nullptr) return;
  explicit_bzero(pages_, MappedSize(size_));
  munmap(pages_, MappedSize(size_));
}

}  // namespace sallyport::secrets
