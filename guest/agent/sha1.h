#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace sallyport::guest {

using Sha1Digest = std::array<uint8_t, 20>;

/// SHA-1 (FIPS 180-4) of PARTS, one after the other. It is broken as a promise and serves only
/// where a file format asks for it as a checksum.
Sha1Digest Sha1(std::initializer_list<std::string_view> parts);

}  // namespace sallyport::guest
