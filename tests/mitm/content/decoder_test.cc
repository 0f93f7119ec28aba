#include "mitm/content/decoder.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "mitm/limits.h"
#include "tests/mitm/content/encoders.h"

namespace sallyport::mitm::content {
namespace {

using Progress = ContentDecoder::Progress;

constexpr Coding kAll[] = {Coding::kGzip, Coding::kDeflate, Coding::kBrotli, Coding::kZstd};

struct Decoded {
  std::string text;
  std::string error;  // Empty: it was whole.
  Code code = Code::kSystem;
};

/// Decodes PIECES, one after the other, at most MAX bytes of output at a time.
Decoded Decode(const std::vector<Coding>& codings, const std::vector<std::string_view>& pieces,
               size_t max = 1000, size_t memory_limit = kMaxDecoderMemory) {
  DecoderMemory memory(memory_limit);
  Decoded decoded;
  {
    ContentDecoder decoder(codings, memory);
    for (std::string_view piece : pieces) {
      for (;;) {
        const size_t before = decoded.text.size();
        const auto progress = decoder.Decode(piece, max, decoded.text);
        if (!progress) return {decoded.text, progress.error().message(), progress.error().code()};
        REQUIRE(decoded.text.size() - before <= max);
        if (*progress == Progress::kNeedsInput) break;
      }
      REQUIRE(piece.empty());
    }
    if (const Status whole = decoder.Finish(); !whole) {
      decoded.error = whole.error().message();
      decoded.code = whole.error().code();
    }
  }
  CHECK(memory.left() == memory_limit);
  return decoded;
}

std::string Text(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) {
    text += "line " + std::to_string(i * i % 1013) + " of some text that repeats itself\n";
  }
  text.resize(size);
  return text;
}

TEST_CASE("every coding is decoded, however its bytes are cut") {
  const std::string text = Text(300);
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, text, 100);
    const std::string_view bytes = coded;
    for (const size_t max : {size_t{1}, size_t{7}, size_t{1000}}) {
      CHECK(Decode({coding}, {bytes}, max).text == text);
    }
    for (size_t a = 0; a <= bytes.size(); ++a) {
      for (size_t b = a; b <= bytes.size(); b += 3) {
        const Decoded decoded =
            Decode({coding}, {bytes.substr(0, a), bytes.substr(a, b - a), bytes.substr(b)}, 50);
        REQUIRE(decoded.error.empty());
        REQUIRE(decoded.text == text);
      }
    }
  }
}

TEST_CASE("deflate is decoded with and without the zlib frame") {
  const std::string text = Text(5000);
  for (const int window_bits : {15, 9, -15, -9}) {
    const std::string coded = ZlibEncode(text, window_bits);
    const std::string_view bytes = coded;
    CHECK(Decode({Coding::kDeflate}, {bytes}).text == text);
    CHECK(Decode({Coding::kDeflate}, {bytes.substr(0, 1), bytes.substr(1)}).text == text);
  }
}

TEST_CASE("megabytes pass every coding, and a stack of them") {
  const std::string text = Text(3'000'000);
  for (const Coding coding : kAll) {
    CHECK(Decode({coding}, {Encode(coding, text)}, 16384).text == text);
  }
  const std::string twice = Encode(Coding::kBrotli, Encode(Coding::kGzip, text));
  CHECK(Decode({Coding::kGzip, Coding::kBrotli}, {twice}, 16384).text == text);
  CHECK_FALSE(Decode({Coding::kBrotli, Coding::kGzip}, {twice}, 16384).error.empty());
}

TEST_CASE("a stack of codings is decoded, however its bytes are cut") {
  const std::string text = Text(200);
  const std::vector<Coding> codings{Coding::kZstd, Coding::kGzip, Coding::kBrotli};
  const std::string coded =
      Encode(Coding::kBrotli, Encode(Coding::kGzip, Encode(Coding::kZstd, text, 20)));
  const std::string_view bytes = coded;
  for (size_t a = 0; a <= bytes.size(); ++a) {
    const Decoded decoded = Decode(codings, {bytes.substr(0, a), bytes.substr(a)}, 11);
    REQUIRE(decoded.error.empty());
    REQUIRE(decoded.text == text);
  }
  std::vector<std::string_view> single;
  for (size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
  CHECK(Decode(codings, single).text == text);
}

TEST_CASE("what a server has flushed is decoded at once") {
  const std::string text = "data: first\n\ndata: second\n\n";
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, text, 13);
    DecoderMemory memory(kMaxDecoderMemory);
    ContentDecoder decoder({coding}, memory);
    std::string out;
    // The first bytes that suffice are no more than the flushed half of the whole.
    size_t given = 0;
    while (out.size() < 13 && given < coded.size()) {
      std::string_view byte = std::string_view(coded).substr(given++, 1);
      REQUIRE(decoder.Decode(byte, 100, out));
    }
    CHECK(out == "data: first\n\n");
    CHECK(given + 4 < coded.size());
  }
}

TEST_CASE("a coded body that is cut off is an error, wherever it is cut") {
  const std::string text = Text(200);
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, text);
    for (size_t size = 1; size < coded.size(); ++size) {
      const Decoded decoded = Decode({coding}, {std::string_view(coded).substr(0, size)});
      REQUIRE_FALSE(decoded.error.empty());
      REQUIRE(decoded.code == Code::kInvalid);
      REQUIRE(text.starts_with(decoded.text));
    }
  }
}

TEST_CASE("a coded body without a byte is an empty one") {
  for (const Coding coding : kAll) CHECK(Decode({coding}, {}).error.empty());
  CHECK(Decode({Coding::kGzip, Coding::kZstd}, {""}).error.empty());
}

TEST_CASE("bytes behind the end of a coded body are an error") {
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, "text");
    for (const char* tail : {"x", "xy", "<html>", "\n"}) {
      const Decoded together = Decode({coding}, {coded + tail});
      CHECK_FALSE(together.error.empty());
      CHECK_FALSE(Decode({coding}, {coded, tail}).error.empty());
    }
    CHECK_FALSE(Decode({coding}, {coded, std::string_view("\0", 1)}).error.empty());
  }
}

TEST_CASE("gzip members and zstd frames follow each other in one body") {
  const std::string a = Text(100);
  const std::string b = Text(5000);
  for (const Coding coding : {Coding::kGzip, Coding::kZstd}) {
    const std::string coded = Encode(coding, a) + Encode(coding, "") + Encode(coding, b);
    for (const size_t max : {size_t{100}, size_t{7}, size_t{10000}}) {
      CHECK(Decode({coding}, {coded}, max).text == a + b);
    }
  }
  const std::string skippable("\x50\x2a\x4d\x18\x03\0\0\0abc", 11);
  const std::string coded = skippable + ZstdEncode(a) + skippable;
  CHECK(Decode({Coding::kZstd}, {coded}).text == a);
  CHECK_FALSE(Decode({Coding::kZstd}, {coded.substr(0, coded.size() - 1)}).error.empty());
}

TEST_CASE("damaged data is an error that names the coding") {
  for (const Coding coding : kAll) {
    const Decoded decoded = Decode({coding}, {"\xff this was never coded in any way at all"});
    CHECK(decoded.code == Code::kInvalid);
    CHECK(decoded.error.starts_with(ToString(coding)));
  }
  for (const Coding coding : {Coding::kGzip, Coding::kDeflate, Coding::kZstd}) {
    std::string coded = Encode(coding, Text(1000));
    coded[coded.size() - 3] ^= 1;  // In a checksum, or the length.
    CHECK(Decode({coding}, {coded}).code == Code::kInvalid);
  }
}

TEST_CASE("windows beyond the bound are refused") {
  const std::string text = Text(100'000);
  CHECK(Decode({Coding::kZstd}, {ZstdEncode(text, 50'000, 23)}).text == text);
  CHECK(Decode({Coding::kZstd}, {ZstdEncode(text, 50'000, 24)}).code == Code::kLimit);
}

TEST_CASE("formats from before RFC 8878 are not decoded") {
  for (const char version : {'\x22', '\x23', '\x24', '\x25', '\x26', '\x27'}) {
    const std::string magic{version, '\xb5', '\x2f', '\xfd'};
    CHECK(Decode({Coding::kZstd}, {magic + "0123456789012345"}).code == Code::kInvalid);
  }
}

TEST_CASE("decoders that get no memory fail, and give back what they had") {
  const std::string text = Text(100'000);
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, text, 1000);
    for (size_t limit = 0; limit < 100'000; limit += 4000) {
      const Decoded decoded = Decode({coding}, {coded}, 1000, limit);
      if (!decoded.error.empty()) REQUIRE(decoded.code == Code::kLimit);
    }
    CHECK_FALSE(Decode({coding}, {coded}, 1000, 2000).error.empty());
  }
}

TEST_CASE("a bomb comes out in the pieces that were asked for") {
  for (const Coding coding : kAll) {
    INFO(ToString(coding));
    const std::string coded = Encode(coding, std::string(50'000'000, '\0'));
    CHECK(coded.size() < 100'000);
    DecoderMemory memory(kMaxDecoderMemory);
    ContentDecoder decoder({coding}, memory);
    std::string_view rest = coded;
    std::string out;
    size_t size = 0;
    auto progress = decoder.Decode(rest, 4096, out);
    while (progress && *progress == Progress::kMore) {
      size += out.size();
      REQUIRE(out.size() <= 4096);
      out.clear();
      progress = decoder.Decode(rest, 4096, out);
    }
    REQUIRE(progress);
    CHECK(size + out.size() == 50'000'000);
    CHECK(decoder.Finish());
  }
}

TEST_CASE("a bomb between two codings, which makes no output, gives others their turn") {
  const std::string member = ZlibEncode("", 31);
  std::string empty_members;
  while (empty_members.size() < 5'000'000) empty_members += member;
  const std::string coded = BrotliEncode(empty_members);
  CHECK(coded.size() < 1000);
  DecoderMemory memory(kMaxDecoderMemory);
  ContentDecoder decoder({Coding::kGzip, Coding::kBrotli}, memory);
  std::string_view rest = coded;
  std::string out;
  size_t calls = 1;
  auto progress = decoder.Decode(rest, 4096, out);
  for (; progress && *progress == Progress::kMore; ++calls) {
    progress = decoder.Decode(rest, 4096, out);
  }
  REQUIRE(progress);
  CHECK(out.empty());
  CHECK(calls >= empty_members.size() / (2 * kMaxDecoderWork));
}

}  // namespace
}  // namespace sallyport::mitm::content
