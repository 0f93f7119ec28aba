// The input is a little program: it makes values over a small alphabet, so that near misses and
// second readings are common, then a stream in pieces. What comes out of the stream must be what
// the whole gives, and what the plain way gives; where lengths are kept, it has the whole's length,
// and where it pauses, no more of a value than the bound is seen, and nothing else waits.
//
//   byte 0        how many values (1 to 4); each then takes 2 bytes: how many characters beyond
//                 eight, and what fills them
//   each other    0x00-0x3f: one character; 0x40-0x5f: the end of a piece; 0x60-0x7f: with a pause
//   byte          behind it; 0x80-0xff: a value (low 2 bits) rendered as the next 3 bits say, from
//                 and up to the next bytes

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "secrets/scrub_filter.h"
#include "tests/fuzz/bytes.h"
#include "tests/secrets/scrub_pause_reference.h"

using namespace sallyport::secrets;
using sallyport::Bytes;

namespace {

constexpr std::string_view kCharacters = "ab%25&\\/+= -u0a\xc3\xa4\xf0\x9f\x94\x91z#;3";
/// Enough for every kind of overlap; the plain way is slow.
constexpr size_t kMaxText = 300;

std::string ValueOf(size_t size, size_t fill) {
  std::string value;
  for (size_t i = 0; i < size; ++i) {
    value += kCharacters[(fill + i * (fill % 7 + 1)) % kCharacters.size()];
  }
  return value;
}

/// The KINDth spelling of each character, as far as it has so many.
std::string Spelled(const std::string& value, size_t kind) {
  std::string text;
  for (const auto& [raw, code] : NaiveCharacters(value)) {
    Spellings scratch;
    const Spellings& spellings = SpellingsOf(
        code < 0 ? kLoneByte + static_cast<unsigned char>(raw[0]) : static_cast<Symbol>(code),
        scratch);
    text += spellings[std::min(kind, spellings.size() - 1)];
  }
  return text;
}

std::string Rendered(const std::string& value, size_t kind) {
  switch (kind) {
    case 0:
      return NaiveHex(value, "%02x");
    case 1:
    case 2:
    case 3:
      return NaiveBase64(std::string(kind - 1, 'u') + value);
    default:
      return Spelled(value, kind - 4);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  std::vector<NaiveSecret> secrets;
  std::vector<ScrubSet::Item> items;
  for (size_t left = bytes.Next() % 4 + 1u; left > 0; --left) {
    const size_t more = bytes.Next() % 24;
    secrets.push_back({ValueOf(8 + more, bytes.Next()), "<" + std::to_string(left) + ">"});
    if (more % 3 == 0) secrets.back().placeholder.insert(0, secrets.back().value, 0, more / 3);
    auto value = ScrubValue::Create(secrets.back().value);
    SALLYPORT_CHECK(value.has_value());
    items.push_back({*std::move(value), secrets.back().placeholder});
  }
  const auto set = ScrubSet::Compile(std::move(items));
  SALLYPORT_CHECK(set.has_value());

  ScrubFilter filter(*set);
  ScrubFilter keeping(*set, AnswerFilter::Lengths::kKept);
  ScrubFilter pausing(*set);
  ScrubFilter both(*set, AnswerFilter::Lengths::kKept);
  const std::vector<NaivePattern> patterns = NaivePatterns(secrets);
  std::vector<NaivePause> pauses;
  size_t most_shown = 0;
  std::string kept;
  std::string paused;
  std::string paused_kept;
  std::string whole;
  std::string piece;
  std::string out;
  const auto feed = [&] {
    SALLYPORT_CHECK(filter.Feed(piece, out).has_value());
    SALLYPORT_CHECK(filter.held() < (*set)->longest_spelling());
    PassOrFeed(keeping, piece, kept);
    SALLYPORT_CHECK(keeping.held() == filter.held());
    PassOrFeed(pausing, piece, paused);
    SALLYPORT_CHECK(pausing.held() == filter.held() && pausing.shown() <= pausing.held());
    SALLYPORT_CHECK(both.Feed(piece, paused_kept).has_value());
    whole += piece;
    piece.clear();
  };
  const auto pause = [&] {
    pausing.Pause(paused);
    both.Pause(paused_kept);
    pauses.push_back(NaivePauseBehind(patterns, whole));
    most_shown = std::max(most_shown, pauses.back().shown);
    SALLYPORT_CHECK(paused_kept.size() == most_shown);
  };
  while (!bytes.empty() && whole.size() + piece.size() < kMaxText) {
    const uint8_t op = bytes.Next();
    if (op < 0x40) {
      piece += kCharacters[op % kCharacters.size()];
    } else if (op < 0x80) {
      feed();
      if (op >= 0x60) pause();
    } else {
      const std::string text = Rendered(secrets[(op & 3u) % secrets.size()].value, op >> 2 & 7u);
      const size_t from = bytes.Next() % (text.size() + 1);
      const size_t count = bytes.Next();
      piece += op >= 0xc0 ? text : text.substr(from, count);
    }
  }
  feed();
  SALLYPORT_CHECK(filter.Finish(out).has_value());
  SALLYPORT_CHECK(keeping.Finish(kept).has_value());
  SALLYPORT_CHECK(pausing.Finish(paused).has_value());
  SALLYPORT_CHECK(both.Finish(paused_kept).has_value());
  SALLYPORT_CHECK(paused ==
                  NaiveScrubPausing(patterns, whole, pauses, NaiveLengths::kMayChange));
  SALLYPORT_CHECK(paused_kept ==
                  NaiveScrubPausing(patterns, whole, pauses, NaiveLengths::kKept));
  SALLYPORT_CHECK(kept.size() == whole.size() && keeping.changed() == filter.changed());
  SALLYPORT_CHECK(out == Scrubbed(**set, whole).value_or(whole));
  SALLYPORT_CHECK(out == NaiveScrub(patterns, whole));
  return 0;
}
