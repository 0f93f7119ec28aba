#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::guest {

/// Cuts the next certificate off PEM and returns it in DER; empty if there is none. kInvalid if it
/// has no end or is not base64. What it says is not looked at.
Result<std::string> CutCertificate(std::string_view& pem);

/// The first certificate in PEM, in DER. kInvalid as above, and if there is none.
Result<std::string> FirstCertificate(std::string_view pem);

}  // namespace sallyport::guest
