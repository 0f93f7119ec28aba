// The first byte chooses a read, the rest is read with it, to its end. What reads is what the
// writer writes: items have one form only.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "guest/protocol/cbor.h"

namespace sallyport::guest {
namespace {

// Reads one item with the read that KIND chooses, and writes it again to OUT.
bool Copy(CborReader& reader, unsigned kind, CborWriter& out) {
  switch (kind % 6) {
    case 0:
      if (const auto value = reader.Int()) return out.Int(*value), true;
      return false;
    case 1:
      if (const auto value = reader.Bool()) return out.Bool(*value), true;
      return false;
    case 2:
      if (const auto value = reader.Bytes()) return out.Bytes(*value), true;
      return false;
    case 3:
      if (const auto value = reader.Text()) return out.Text(*value), true;
      return false;
    case 4:
      if (const auto value = reader.Array()) return out.Array(*value), true;
      return false;
    default:
      if (const auto value = reader.Map()) return out.Map(*value), true;
      return false;
  }
}

}  // namespace
}  // namespace sallyport::guest

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sallyport::guest;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (CborReader reader(input); reader.Skip();) {
  }
  CborReader reader(input);
  CborWriter out;
  unsigned kind = data[0];
  bool copied = true;  // A failed read leaves the reader anywhere.
  while (copied && !reader.End()) {
    copied = Copy(reader, kind, out);
    kind = kind * 31 + 7;
  }
  if (copied) SALLYPORT_CHECK(out.Take() == input);
  return 0;
}
