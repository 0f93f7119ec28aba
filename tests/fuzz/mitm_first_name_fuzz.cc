// Any bytes as the first ones of a connection to an address that several names have: the same name
// is found for every way of cutting them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "mitm/first_name.h"

namespace {

using sallyport::mitm::FirstName;

// Whether it has seen enough.
bool FeedIn(FirstName& name, std::string_view bytes, size_t piece) {
  bool enough = false;
  for (size_t at = 0; at < bytes.size() && !enough; at += piece) {
    enough = name.Feed(bytes.substr(at, piece));
  }
  return enough;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  FirstName whole;
  FirstName pieces;
  const bool enough = FeedIn(whole, bytes, std::max<size_t>(size, 1));
  SALLYPORT_CHECK(FeedIn(pieces, bytes, 7) == enough);
  SALLYPORT_CHECK(whole.name() == pieces.name());
  SALLYPORT_CHECK(enough || !whole.name());
  return 0;
}
