#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::secrets {

/// COUNT characters of ALPHABET (2 to 256 of them, none twice), each equally likely, from the
/// kernel's generator. kSystem where the kernel has none to give.
Result<std::string> RandomText(std::string_view alphabet, size_t count);

}  // namespace sallyport::secrets
