#include "secrets/anchor_scan.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>

#include <bit>
#endif

namespace sallyport::secrets {

size_t FindAnchorPortable(std::string_view text, std::string_view anchor, size_t from) {
  if (from >= text.size()) return std::string_view::npos;
  const void* hit = memmem(text.data() + from, text.size() - from, anchor.data(), anchor.size());
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(hit) - text.data());
}

#if defined(__SSE2__)

namespace {

constexpr size_t kStep = sizeof(__m128i);

__m128i Load(const char* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

/// The anchor's first and last byte, 16 times each: a place is looked at closely when both are
/// where they should be.
class Ends {
 public:
  explicit Ends(std::string_view anchor)
      : anchor_(anchor),
        first_(_mm_set1_epi8(anchor.front())),
        last_(_mm_set1_epi8(anchor.back())) {}

  /// The first of the kStep places from AT on where the anchor stands. Reads the bytes of all.
  size_t FindFrom(std::string_view text, size_t at) const {
    const char* bytes = text.data() + at;
    const __m128i first = _mm_cmpeq_epi8(Load(bytes), first_);
    const __m128i last = _mm_cmpeq_epi8(Load(bytes + anchor_.size() - 1), last_);
    auto places = static_cast<unsigned>(_mm_movemask_epi8(_mm_and_si128(first, last)));
    for (; places != 0; places &= places - 1) {
      const auto place = static_cast<size_t>(std::countr_zero(places));
      if (memcmp(bytes + place, anchor_.data(), anchor_.size()) == 0) return at + place;
    }
    return std::string_view::npos;
  }

 private:
  std::string_view anchor_;
  __m128i first_;
  __m128i last_;
};

}  // namespace

size_t FindAnchor(std::string_view text, std::string_view anchor, size_t from) {
  const size_t block = kStep + anchor.size() - 1;
  if (from >= text.size() || text.size() - from < block) {
    return FindAnchorPortable(text, anchor, from);
  }
  const Ends ends(anchor);
  const size_t last_block = text.size() - block;
  for (size_t at = from; at < last_block; at += kStep) {
    const size_t place = ends.FindFrom(text, at);
    if (place != std::string_view::npos) return place;
  }
  return ends.FindFrom(text, last_block);  // Overlaps what had no anchor.
}

#else

size_t FindAnchor(std::string_view text, std::string_view anchor, size_t from) {
  return FindAnchorPortable(text, anchor, from);
}

#endif

}  // namespace sallyport::secrets
