#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::secrets {

/// A secret's value: in locked memory that is left out of cores and children, and wiped when it
/// goes. It has no stream operator, no conversion and no copy; its bytes leave only through Store.
class Secret {
 public:
  /// Takes a copy of VALUE into its own pages (mlock, MADV_DONTDUMP, MADV_WIPEONFORK), and leaves
  /// wiping the source to the caller (see WipeBytes). kLimit when memory can't be locked,
  /// kInvalid for an empty value, one over 64 KiB, or one with CR, LF or NUL.
  static Result<Secret> Create(std::string_view value);

  Secret(Secret&&) noexcept;
  Secret& operator=(Secret&&) noexcept;
  ~Secret();

  size_t size() const { return size_; }
  /// For Store and the broker alone.
  std::string_view Reveal() const;

 private:
  Secret(char* pages, size_t size) : pages_(pages), size_(size) {}
  char* pages_ = nullptr;
  size_t size_ = 0;
};

/// Overwrites BYTES in a way that no optimiser removes.
void WipeBytes(void* bytes, size_t size);

/// Overwrites TEXT with all of its capacity, and empties it.
void WipeString(std::string& text);

}  // namespace sallyport::secrets
