// Any bytes in any stack of codings: read whole and in pieces, a little output at a time or much,
// they mean the same, and no decoder keeps memory.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "mitm/content/decoder.h"

namespace {

using namespace sallyport::mitm::content;

constexpr size_t kMemory = 32 * 1024 * 1024;
constexpr size_t kEnough = 1024 * 1024;

struct Outcome {
  std::string text;
  bool whole = false;
};

// Bombs are left after a megabyte.
Outcome Decode(const std::vector<Coding>& codings, std::string_view bytes, size_t piece,
               size_t max) {
  DecoderMemory memory(kMemory);
  Outcome outcome;
  {
    ContentDecoder decoder(codings, memory);
    for (size_t at = 0; at < bytes.size(); at += piece) {
      std::string_view input = bytes.substr(at, piece);
      for (;;) {
        const size_t before = outcome.text.size();
        const auto progress = decoder.Decode(input, max, outcome.text);
        if (!progress) return {};
        SALLYPORT_CHECK(outcome.text.size() - before <= max);
        if (outcome.text.size() > kEnough) return {};
        if (*progress == ContentDecoder::Progress::kNeedsInput) break;
      }
      SALLYPORT_CHECK(input.empty());
    }
    outcome.whole = decoder.Finish().has_value();
  }
  SALLYPORT_CHECK(memory.left() == kMemory);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 10'000) return 0;
  // Two bits for each coding, from the lowest; the topmost two say how many.
  std::vector<Coding> codings;
  for (int i = 0; i <= (data[0] >> 6) % 3; ++i) {
    codings.push_back(static_cast<Coding>(data[0] >> (2 * i) & 3));
  }
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Outcome whole = Decode(codings, bytes, bytes.size() + 1, 16384);
  const Outcome pieces = Decode(codings, bytes, 1 + data[1] % 16, 1 + data[1]);
  SALLYPORT_CHECK(whole.whole == pieces.whole);
  if (whole.whole) SALLYPORT_CHECK(whole.text == pieces.text);
  return 0;
}
