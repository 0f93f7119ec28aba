// Any bytes as requests on a connection: read whole and in pieces, they mean the same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tests/mitm/conversation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sallyport::mitm::http1::ReadRequests;
  if (size < 1 || size > 100'000) return 0;
  const size_t cut = data[0] % size;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = ReadRequests({bytes});
  const std::string pieces = ReadRequests({bytes.substr(0, cut), bytes.substr(cut)}, 7);
  // Where the input ends in the middle, an error of its first part may be found earlier.
  SALLYPORT_CHECK(whole == pieces);
  return 0;
}
