#include "secrets/secret.h"

#include <string.h>

#include <utility>

namespace sallyport::secrets {
namespace {

/// Larger than any credential that fits a header; values count against RLIMIT_MEMLOCK, which is
/// 8 MiB on most hosts.
constexpr size_t kMaxValue = size_t{64} * 1024;

Status CheckBytes(std::string_view value, Secret::Form form) {
  if (value.empty()) return Fail(Code::kInvalid, "the value is empty");
  if (value.size() > kMaxValue) return Fail(Code::kInvalid, "the value is longer than 64 KiB");
  if (form == Secret::Form::kFile) return {};
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    return Fail(Code::kInvalid,
                "the value has a line break or a NUL in it, which no header can carry");
  }
  return {};
}

}  // namespace

Result<Secret> Secret::Create(std::string_view value, Form form) {
  if (Status bytes = CheckBytes(value, form); !bytes) return tl::unexpected(std::move(bytes).error());
  Result<LockedMemory> memory = LockedMemory::Create(value.size());
  if (!memory) return tl::unexpected(std::move(memory).error());
  memcpy(memory->data(), value.data(), value.size());
  return Secret(*std::move(memory));
}

std::string_view Secret::Reveal() const {
  return {memory_.data(), memory_.size()};
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
