#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "secrets/locked_memory.h"

namespace sallyport::secrets {

/// A secret's value, in locked memory. It has no stream operator, no conversion and no copy; its
/// bytes leave only through Store.
class Secret {
 public:
  /// A kFile may have any bytes in it: it goes into no header (a private key).
  enum class Form { kHeaderValue, kFile };

  /// Takes a copy of VALUE into its own pages, and leaves wiping the source to the caller (see
  /// WipeBytes). kLimit when memory can't be locked, kInvalid for an empty value, one over 64 KiB,
  /// or one with CR, LF or NUL that is not a kFile.
  static Result<Secret> Create(std::string_view value, Form form = Form::kHeaderValue);

  size_t size() const { return memory_.size(); }
  /// For Store, the broker, and whoever turns a key in PEM into one.
  std::string_view Reveal() const;

 private:
  explicit Secret(LockedMemory memory) : memory_(std::move(memory)) {}
  LockedMemory memory_;
};

/// Overwrites BYTES in a way that no optimiser removes.
void WipeBytes(void* bytes, size_t size);

/// Overwrites TEXT with all of its capacity, and empties it.
void WipeString(std::string& text);

}  // namespace sallyport::secrets
