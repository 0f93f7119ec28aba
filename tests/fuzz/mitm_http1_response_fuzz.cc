// Any bytes as responses on a connection: read whole and in pieces, they mean the same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "tests/mitm/conversation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sallyport::mitm::http1::ReadResponses;
  if (size < 2 || size > 100'000) return 0;
  const size_t cut = data[0] % (size - 1);
  const std::vector<std::string> methods{(data[1] & 1) != 0 ? "HEAD" : "GET", "GET", "HEAD"};
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string whole = ReadResponses({bytes}, methods);
  const std::string pieces = ReadResponses({bytes.substr(0, cut), bytes.substr(cut)}, methods, 7);
  SALLYPORT_CHECK(whole == pieces);
  return 0;
}
