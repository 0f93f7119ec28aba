#include "secrets/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sallyport::secrets {
namespace {

/// Larger than any credential that fits a header; values count against RLIMIT_MEMLOCK, which is
/// 8 MiB on most hosts.
constexpr size_t kMaxValue = size_t{64} * 1024;

/// Whole pages, so that nothing else lives, or is dumped, beside a value.
size_t MappedSize(size_t size) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

Status CheckBytes(std::string_view value) {
  if (value.empty()) return Fail(Code::kInvalid, "the value is empty");
  if (value.size() > kMaxValue) return Fail(Code::kInvalid, "the value is longer than 64 KiB");
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return Fail(Code::kInvalid,
                "the value has a line break or a NUL in it, which no header can carry");
  }
  return {};
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

Result<Secret> Secret::Create(std::string_view value) {
  if (Status bytes = CheckBytes(value); !bytes) return tl::unexpected(std::move(bytes).error());
  void* pages = mmap(nullptr, MappedSize(value.size()), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return tl::unexpected<Error>(Error::FromErrno("mmap for a secret"));
  Secret secret(static_cast<char*>(pages), value.size());
  Status protection = Protect(secret.pages_, MappedSize(secret.size_));
  if (!protection) return tl::unexpected(std::move(protection).error());
  memcpy(secret.pages_, value.data(), value.size());
  return secret;
}

Secret::Secret(Secret&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  // What was here goes with OTHER's new content, wiped as ever.
  std::swap(pages_, other.pages_);
  std::swap(size_, other.size_);
  return *this;
}

Secret::~Secret() {
  if (pages_ == nullptr) return;
  WipeBytes(pages_, MappedSize(size_));
  munmap(pages_, MappedSize(size_));
}

std::string_view Secret::Reveal() const {
  return {pages_, size_};
}

void WipeBytes(void* bytes, size_t size) {
  explicit_bzero(bytes, size);
}

void WipeString(std::string& text) {
  text.resize(text.capacity());  // Never reallocates; what was longer before is reached too.
  WipeBytes(text.data(), text.size());
  text.clear();
}

}  // namespace sallyport::secrets
