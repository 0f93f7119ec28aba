#include "mitm/filtered_body.h"

#include <catch2/catch.hpp>
#include <deque>
#include <string>
#include <vector>

#include "tests/mitm/content/encoders.h"
#include "tests/mitm/replacing_filter.h"

namespace sallyport::mitm {
namespace {

using content::Coding;
using Kind = MessageEvent::Kind;
using Options = FilteredBody::Options;

/// A body that arrives in the pieces it was given; an empty one is a time without any.
class Arriving {
 public:
  explicit Arriving(std::vector<std::string> pieces, Kind end = Kind::kEnd)
      : pieces_(pieces.begin(), pieces.end()), end_(end) {}

  FilteredBody::Source source() {
    return [this](size_t max) { return Next(max); };
  }
  bool taken() const { return pieces_.empty(); }
  /// Whether PIECE lies where the latest piece was given.
  bool gave(std::string_view piece) const {
    return !piece.empty() && piece.data() >= last_.data() &&
           piece.data() + piece.size() <= last_.data() + last_.size();
  }

 private:
  MessageEvent Next(size_t max) {
    if (pieces_.empty()) return {end_, {}};
    if (pieces_.front().empty()) {
      pieces_.pop_front();
      return {};
    }
    last_ = pieces_.front().substr(0, max);
    pieces_.front().erase(0, last_.size());
    if (pieces_.front().empty()) pieces_.pop_front();
    return {Kind::kBody, last_};
  }

  std::deque<std::string> pieces_;
  const Kind end_;
  std::string last_;
};

struct Read {
  std::string text;
  Kind end = Kind::kWouldBlock;
  int idle = 0;  // Empty pieces.
};

/// Reads to the end, through every time without a piece.
Read ReadAll(FilteredBody& body, Arriving& arriving, size_t max = 100) {
  Read read;
  for (int waits = 0; waits < 1000;) {
    const MessageEvent event = body.Read(arriving.source(), max);
    REQUIRE(event.piece.size() <= max);
    if (event.kind == Kind::kBody) {
      read.text += event.piece;
      if (event.piece.empty()) ++read.idle;
    } else if (event.kind == Kind::kWouldBlock) {
      ++waits;
    } else {
      read.end = event.kind;
      return read;
    }
  }
  return read;
}

Options Replacing(std::string from = "sesame-sesame", std::string to = "PLACEHOLDER") {
  Options options;
  options.filter = std::make_unique<ReplacingFilter>(std::move(from), std::move(to));
  return options;
}

content::DecoderMemory& Memory() {
  static content::DecoderMemory memory(kMaxDecoderMemory);
  return memory;
}

Options Decoding(std::vector<Coding> codings) {
  Options options = Replacing();
  options.decoder = std::make_unique<content::ContentDecoder>(codings, Memory());
  return options;
}

Options Inspecting(Coding coding) {
  Options options = Decoding({coding});
  options.output = FilteredBody::Output::kOriginal;
  return options;
}

const std::string kText = "the word is sesame-sesame, not sesame-sesam";
const std::string kScrubbed = "the word is PLACEHOLDER, not sesame-sesam";

TEST_CASE("a body is filtered, however it is cut") {
  for (size_t a = 0; a <= kText.size(); ++a) {
    for (size_t b = a; b <= kText.size(); ++b) {
      Arriving arriving({kText.substr(0, a), kText.substr(a, b - a), kText.substr(b)});
      FilteredBody body(Replacing());
      const Read read = ReadAll(body, arriving, 5);
      REQUIRE(read.end == Kind::kEnd);
      REQUIRE(read.text == kScrubbed);
    }
  }
}

TEST_CASE("a coded body is decoded and filtered, however it is cut") {
  for (const Coding coding : {Coding::kGzip, Coding::kDeflate, Coding::kBrotli, Coding::kZstd}) {
    const std::string coded = content::Encode(coding, kText, 20);
    for (size_t a = 0; a <= coded.size(); ++a) {
      for (size_t b = a; b <= coded.size(); b += 5) {
        Arriving arriving({coded.substr(0, a), coded.substr(a, b - a), coded.substr(b)});
        FilteredBody body(Decoding({coding}));
        const Read read = ReadAll(body, arriving, 7);
        REQUIRE(read.end == Kind::kEnd);
        REQUIRE(read.text == kScrubbed);
      }
    }
  }
}

TEST_CASE("what is settled is given at once, and only that waits which may be a secret") {
  Arriving arriving({"data: one\n\n", "", "data: ses", "", "ame-sesame\n\n"});
  FilteredBody body(Replacing());
  CHECK(body.Read(arriving.source(), 100).piece == "data: one\n\n");
  CHECK(body.Read(arriving.source(), 100).kind == Kind::kWouldBlock);
  CHECK(body.Read(arriving.source(), 100).piece == "data: ");
  CHECK(body.Read(arriving.source(), 100).kind == Kind::kWouldBlock);
  CHECK(body.Read(arriving.source(), 100).piece == "PLACEHOLDER\n\n");
  CHECK(body.Read(arriving.source(), 100).kind == Kind::kEnd);
  CHECK(body.Read(arriving.source(), 100).kind == Kind::kEnd);
}

TEST_CASE("a piece that stays as it is goes on from where it is") {
  Arriving arriving({"nothing", "nothing, ses", "ame", "", "more than a dozen", "of sesame-sesame", "x"});
  FilteredBody body(Replacing());
  const auto read = [&] { return body.Read(arriving.source(), 12).piece; };
  std::string_view piece = read();
  CHECK(piece == "nothing");
  CHECK(arriving.gave(piece));
  piece = read();
  CHECK(piece == "nothing, ");  // The filter holds the rest.
  CHECK(arriving.gave(piece));
  CHECK(body.Read(arriving.source(), 12).kind == Kind::kWouldBlock);
  piece = read();  // Behind what was held.
  CHECK(piece == "sesamemore t");
  CHECK_FALSE(arriving.gave(piece));
  CHECK(read() == "han a dozen");
  piece = read();
  CHECK(piece == "of PLACEHOLD");
  CHECK_FALSE(arriving.gave(piece));
  CHECK(read() == "ER");
  CHECK(arriving.gave(read()));
  CHECK(body.Read(arriving.source(), 12).kind == Kind::kEnd);
}

TEST_CASE("what goes on from where it is counts to the length, and is not put together") {
  Options options = Replacing();
  options.length = 10;
  FilteredBody body(std::move(options));
  Arriving arriving({"12345", "678901"});
  CHECK(body.Read(arriving.source(), 100).piece == "12345");
  CHECK(body.Read(arriving.source(), 100).kind == Kind::kError);
  REQUIRE(body.failed());

  Options filling = Replacing();
  filling.fill = 8;
  FilteredBody filled(std::move(filling));
  Arriving small({"1234", "5678", "123456789"});
  std::string_view piece = filled.Read(small.source(), 100).piece;
  CHECK(piece == "12345678");
  piece = filled.Read(small.source(), 100).piece;
  CHECK(piece == "123456789");
  CHECK(small.gave(piece));

  Options wiping = Replacing();
  wiping.wipe = true;  // Values are put in: only what is written by the filter is wiped.
  FilteredBody wiped(std::move(wiping));
  Arriving plain({"1234"});
  CHECK_FALSE(plain.gave(wiped.Read(plain.source(), 100).piece));
}

TEST_CASE("no more is read from the source while output waits") {
  Arriving arriving({std::string(100, 'a'), std::string(100, 'b')});
  FilteredBody body(Replacing());
  CHECK(body.Read(arriving.source(), 60).piece.size() == 60);
  CHECK_FALSE(arriving.taken());
  CHECK(body.held() == 100);
  CHECK(body.Read(arriving.source(), 60).piece.size() == 40);
  CHECK_FALSE(arriving.taken());
}

TEST_CASE("slices are put together as long as there are more at once") {
  const std::string text(1000, 'a');
  Arriving arriving({text, "", text + kText});
  Options options = Replacing();
  options.slice = 10;
  options.fill = 500;
  FilteredBody body(std::move(options));
  CHECK(body.Read(arriving.source(), 1000).piece.size() == 500);
  CHECK(body.Read(arriving.source(), 300).piece.size() == 300);
  CHECK(body.Read(arriving.source(), 1000).piece.size() == 200);  // Nothing more at once.
  CHECK(ReadAll(body, arriving).text == text + kScrubbed);
}

TEST_CASE("output of another length than was announced is an error before it is given") {
  const auto read = [](std::string to, uint64_t length) {
    Arriving arriving({kText.substr(0, 14), kText.substr(14)});
    Options options = Replacing("sesame-sesame", std::move(to));
    options.length = length;
    FilteredBody body(std::move(options));
    const Read all = ReadAll(body, arriving);
    CHECK(all.text.size() <= length);
    return all.end;
  };
  CHECK(read("SESAME-SESAME", kText.size()) == Kind::kEnd);
  CHECK(read("SESAME-SESAME+", kText.size()) == Kind::kError);
  CHECK(read("SESAME-SESAM", kText.size()) == Kind::kError);
}

TEST_CASE("a bomb is given in slices, and nothing is held beyond one") {
  const std::string bomb = content::BrotliEncode(std::string(20'000'000, '\0'));
  Arriving arriving({bomb});
  FilteredBody body(Decoding({Coding::kBrotli}));
  size_t size = 0;
  for (;;) {
    const MessageEvent event = body.Read(arriving.source(), 1 << 20);
    if (event.kind == Kind::kEnd) break;
    REQUIRE(event.kind == Kind::kBody);
    REQUIRE(body.held() <= kInputBlock);
    size += event.piece.size();
  }
  CHECK(size == 20'000'000);
}

TEST_CASE("work without output gives others their turn") {
  const std::string member = content::ZlibEncode("", 31);
  std::string members;
  while (members.size() < 3 * kMaxIdleSteps * kMaxDecoderWork) members += member;
  Arriving arriving({content::BrotliEncode(members)});
  FilteredBody body(Decoding({Coding::kGzip, Coding::kBrotli}));
  const Read read = ReadAll(body, arriving);
  CHECK(read.end == Kind::kEnd);
  CHECK(read.text.empty());
  CHECK(read.idle >= 2);
}

TEST_CASE("a coded body that is not what it says is the body's own error") {
  Arriving arriving({content::ZlibEncode(kText, 31).substr(0, 20)});
  FilteredBody body(Decoding({Coding::kGzip}));
  CHECK(ReadAll(body, arriving).end == Kind::kError);
  CHECK(body.failed());
  CHECK(body.error().status == 400);
  CHECK(body.error().detail == "gzip: it is cut off");
  CHECK(body.Read(arriving.source(), 10).kind == Kind::kError);
}

TEST_CASE("an error of the source's is passed on after what came before it") {
  for (const Kind end : {Kind::kError, Kind::kBroken}) {
    Arriving arriving({"before "}, end);
    FilteredBody body(Replacing());
    const Read read = ReadAll(body, arriving);
    CHECK(read.text == "before ");
    CHECK(read.end == end);
    CHECK_FALSE(body.failed());
  }
}

TEST_CASE("a request that is too large once decoded is cut off at the bound") {
  const std::string bomb = content::ZlibEncode(std::string(20'000'000, '\0'), 31);
  const auto decoded_size = [&bomb](uint64_t max_decoded, uint64_t max_ratio) {
    Arriving arriving({bomb});
    Options options = Decoding({Coding::kGzip});
    options.max_decoded = max_decoded;
    options.max_ratio = max_ratio;
    FilteredBody body(std::move(options));
    const Read read = ReadAll(body, arriving, 1 << 20);
    if (read.end == Kind::kError) CHECK(body.error().status == 413);
    return read.text.size();
  };
  CHECK(decoded_size(UINT64_MAX, UINT64_MAX) == 20'000'000);
  CHECK(decoded_size(5'000'000, UINT64_MAX) <= 5'000'000);
  // The whole bomb has a ratio of about 1000; it is read in slices.
  CHECK(decoded_size(UINT64_MAX, 100) <= 2'000'000);
  CHECK(decoded_size(UINT64_MAX, 2000) == 20'000'000);
}

TEST_CASE("gathering reads to the end, to its bound, or as far as the source goes") {
  Arriving whole({"the word is ", "", "sesame-sesame"});
  FilteredBody body(Replacing());
  CHECK(body.Gather(whole.source(), 100) == Kind::kWouldBlock);
  CHECK(body.Gather(whole.source(), 100) == Kind::kEnd);
  CHECK(body.held() == 23);
  const Read read = ReadAll(body, whole);
  CHECK(read.text == "the word is PLACEHOLDER");
  CHECK(read.end == Kind::kEnd);

  Arriving large({std::string(5000, 'a'), std::string(5000, 'b')});
  FilteredBody too_large(Replacing());
  CHECK(too_large.Gather(large.source(), 4000) == Kind::kBody);
  CHECK(ReadAll(too_large, large).text.size() == 10'000);

  Arriving broken({"some"}, Kind::kBroken);
  FilteredBody cut_off(Replacing());
  CHECK(cut_off.Gather(broken.source(), 4000) == Kind::kBroken);
}

TEST_CASE("a coded body that is only looked through keeps its bytes") {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i) + " sesame-sesam \n";
  for (const Coding coding : {Coding::kGzip, Coding::kDeflate, Coding::kBrotli, Coding::kZstd}) {
    const std::string coded = content::Encode(coding, text);
    for (const size_t piece : {size_t{1}, size_t{100}, coded.size()}) {
      std::vector<std::string> pieces;
      for (size_t at = 0; at < coded.size(); at += piece) pieces.push_back(coded.substr(at, piece));
      Arriving arriving(pieces);
      FilteredBody body(Inspecting(coding));
      const Read read = ReadAll(body, arriving, 5000);
      REQUIRE(read.end == Kind::kEnd);
      REQUIRE(read.text == coded);
    }
  }
}

TEST_CASE("a coded body that is only looked through ends where it would show a secret") {
  std::string text(100'000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i * i * i % 23);
  const std::string coded = content::ZlibEncode(text + kText + text, 31);
  for (const size_t piece : {size_t{1}, size_t{100}, coded.size()}) {
    std::vector<std::string> pieces;
    for (size_t at = 0; at < coded.size(); at += piece) pieces.push_back(coded.substr(at, piece));
    Arriving arriving(pieces);
    FilteredBody body(Inspecting(Coding::kGzip));
    const Read read = ReadAll(body, arriving);
    CHECK(read.end == Kind::kError);
    CHECK(body.failed());
    REQUIRE(coded.starts_with(read.text));
    // What was given decodes to nothing of the secret.
    z_stream stream{};
    inflateInit2(&stream, 31);
    std::string shown(300'000, '\0');
    std::string given = read.text;
    stream.next_in = reinterpret_cast<Bytef*>(given.data());
    stream.avail_in = static_cast<uInt>(given.size());
    stream.next_out = reinterpret_cast<Bytef*>(shown.data());
    stream.avail_out = static_cast<uInt>(shown.size());
    inflate(&stream, Z_NO_FLUSH);
    shown.resize(shown.size() - stream.avail_out);
    inflateEnd(&stream);
    CHECK(shown.find("sesame-sesame") == std::string::npos);
  }
  // At the very end, too.
  Arriving last({content::ZlibEncode("the word is sesame-sesame", 31)});
  FilteredBody body(Inspecting(Coding::kGzip));
  const Read read = ReadAll(body, last);
  CHECK(read.end == Kind::kError);
  CHECK(read.text.empty());
}

TEST_CASE("what a coded body holds back to be looked through is bounded") {
  const std::string member = content::ZlibEncode("", 31);
  std::string pieces = content::ZlibEncode("sesame-", 31);  // Never settled.
  while (pieces.size() < 2 * kMaxHeldOriginal) pieces += member;
  Arriving arriving({pieces});
  FilteredBody body(Inspecting(Coding::kGzip));
  CHECK(ReadAll(body, arriving).end == Kind::kError);
}

}  // namespace
}  // namespace sallyport::mitm
