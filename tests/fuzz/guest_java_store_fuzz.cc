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
  std::string store(input);
  if (AddToJavaStore(store, "certificate")) {
    const auto again = AddToJavaStore(store, "certificate");
    SALLYPORT_CHECK(again && *again == JavaStoreChange::kNone);
    const std::string_view entries = input.substr(kHead, input.size() - kHead - kDigest);
    SALLYPORT_CHECK(std::string_view(store).substr(kHead).starts_with(entries));
  } else {
    SALLYPORT_CHECK(store == input);
  }
  if (auto made = MakeJavaStore(input)) SALLYPORT_CHECK(AddToJavaStore(*made, "certificate"));
  return 0;
}
