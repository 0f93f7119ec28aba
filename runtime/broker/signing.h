#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "runtime/broker/wiped.h"

namespace sallyport::runtime {

/// RFC 4648, section 4, with padding.
Wiped Base64(std::string_view bytes);

/// A JSON Web Token (RFC 7519) over CLAIMS, a JSON object, signed with RS256 (RFC 7518, 3.3) by the
/// RSA key PRIVATE_KEY (PEM, PKCS#1 or PKCS#8, of 2048 bits or more). kInvalid says what is wrong
/// with the key.
Result<Wiped> SignRs256(std::string_view claims, std::string_view private_key);

}  // namespace sallyport::runtime
