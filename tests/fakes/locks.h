#pragma once

#include "tests/fakes/sanitized.h"

namespace sallyport {

/// Whether mlock() works here: AddressSanitizer makes it do nothing.
inline constexpr bool kLocks = !kSanitized;

}  // namespace sallyport
