// Any bytes as a trust store of an image, and as a bundle in PEM. What is added to a store stands
// once, however often it is added, and nothing of what was there before is lost.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "guest/agent/java_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sallyport::guest;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  constexpr size_t kDigest = 20;
  constexpr size_t kHead = 12;
  if (const auto once = AddToJavaStore(input, "certificate")) {
    const auto twice = AddToJavaStore(*once, "certificate");
    SALLYPORT_CHECK(twice && *twice == *once);
    const std::string_view entries = input.substr(kHead, input.size() - kHead - kDigest);
    SALLYPORT_CHECK(once->substr(kHead).starts_with(entries));
  }
  if (const auto made = MakeJavaStore(input)) SALLYPORT_CHECK(AddToJavaStore(*made, "certificate"));
  return 0;
}
