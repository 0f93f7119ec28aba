#pragma once

namespace sallyport {

/// Whether mlock() works here: AddressSanitizer makes it do nothing.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kLocks = false;
#elif defined(__has_feature)
inline constexpr bool kLocks = !__has_feature(address_sanitizer);
#else
inline constexpr bool kLocks = true;
#endif

}  // namespace sallyport
