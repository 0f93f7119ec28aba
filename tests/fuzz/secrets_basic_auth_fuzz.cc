// The whole input is a field value. What decodes must come back from its own encoding, and say the
// same of foreign credentials in both spellings.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "secrets/basic_auth.h"
#include "secrets/foreign.h"

using namespace sallyport::secrets;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  const auto credentials = DecodeBasic(value);
  if (!credentials) return 0;
  SALLYPORT_CHECK(credentials->size() <= value.size());
  SALLYPORT_CHECK(DecodeBasic(EncodeBasic(*credentials)) == credentials);
  // Any part of it may be a placeholder.
  const size_t half = credentials->size() / 2;
  for (const size_t at : {size_t{0}, half}) {
    const std::vector<PlaceholderIndex::Match> match = {{at, credentials->size() - half, 0}};
    BasicHoldsForeign(*credentials, match);
    HoldsForeign(*credentials, match);
  }
  return 0;
}
