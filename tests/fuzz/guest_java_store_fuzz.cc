// Any bytes as a trust store of an image, and as a bundle in PEM. What is added to a store stands
// once, however often it is added, and nothing of what was there before is lost.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "guest/agent/java_store.h"

namespace {

using namespace sallyport::guest;

/// Whether something was added to STORE.
bool Add(std::string& store) {
  const auto read = [&store](size_t offset, std::span<char> buffer) {
    if (offset > store.size() || store.size() - offset < buffer.size()) return false;
    std::copy_n(store.data() + offset, buffer.size(), buffer.data());
    return true;
  };
  const auto change = ExtendJavaStore(read, store.size(), "certificate");
  if (!change || !*change) return false;
  store.replace(JavaStoreChange::kCountAt, (*change)->count.size(), (*change)->count);
  store.replace(store.size() - JavaStoreChange::kDigest, JavaStoreChange::kDigest, (*change)->end);
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  constexpr size_t kHead = 12;
  std::string store(input);
  if (Add(store)) {
    SALLYPORT_CHECK(!Add(store));
    const std::string_view entries =
        input.substr(kHead, input.size() - kHead - JavaStoreChange::kDigest);
    SALLYPORT_CHECK(std::string_view(store).substr(kHead).starts_with(entries));
  } else {
    SALLYPORT_CHECK(store == input);
  }
  if (auto made = MakeJavaStore(input)) SALLYPORT_CHECK(Add(*made));
  return 0;
}
