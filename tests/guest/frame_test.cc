#include "guest/protocol/frame.h"

#include <catch2/catch.hpp>
#include <vector>

namespace sallyport::guest {
namespace {

using namespace std::string_literals;

std::vector<Frame> Take(FrameDecoder& decoder) {
  std::vector<Frame> frames;
  for (;;) {
    auto frame = decoder.Next();
    REQUIRE(frame);
    if (!*frame) return frames;
    frames.push_back(std::move(**frame));
  }
}

void CheckRefused(const std::string& bytes) {
  FrameDecoder decoder;
  decoder.Feed(bytes);
  auto frame = decoder.Next();
  REQUIRE_FALSE(frame);
  CHECK(frame.error().code() == Code::kInvalid);
}

// Each field of a header in hex, so that a change of the format shows.
const std::string kStdinHeader =
    "\x03\0\0\0"      // length
    "\x07\0\0\0"      // stream
    "\x05"            // type: stdin
    "\x01"            // flags: end
    "\0\0"            // reserved
    "\x00\x02\0\0"s;  // credit: 512

TEST_CASE("a frame has the layout that its header documents") {
  std::string out;
  AppendFrame(out, FrameType::kStdin, 7, "abc", kFlagEnd, 512);
  CHECK(out == kStdinHeader + "abc");
}

TEST_CASE("frames come out the same for every way of cutting the stream at two places") {
  std::string bytes;
  AppendFrame(bytes, FrameType::kHello, 0, "hello");
  AppendFrame(bytes, {.type = FrameType::kStdout, .stream = 0xfffffffe, .payload = "out"});
  AppendFrame(bytes, FrameType::kCredit, 3, {}, 0, 0xffffffff);
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      FrameDecoder decoder;
      std::vector<Frame> frames;
      for (const auto& piece :
           {bytes.substr(0, first), bytes.substr(first, second - first), bytes.substr(second)}) {
        decoder.Feed(piece);
        for (Frame& frame : Take(decoder)) frames.push_back(std::move(frame));
      }
      REQUIRE(frames.size() == 3);
      REQUIRE(frames[0].type == FrameType::kHello);
      REQUIRE(frames[0].payload == "hello");
      REQUIRE(frames[1].stream == 0xfffffffe);
      REQUIRE(frames[1].payload == "out");
      REQUIRE(frames[2].credit == 0xffffffff);
      REQUIRE(decoder.buffered() == 0);
    }
  }
}

TEST_CASE("a header that breaks the format is refused before its payload arrives") {
  std::string longer = kStdinHeader;
  longer[0] = 1, longer[2] = 1;  // 64 KiB and one byte.
  CheckRefused(longer);
  for (const char type : {'\0', '\x15', '\xff'}) {
    std::string bad = kStdinHeader;
    bad[8] = type;
    CheckRefused(bad);
  }
  for (const size_t at : {size_t{10}, size_t{11}}) {
    std::string bad = kStdinHeader;
    bad[at] = 1;
    CheckRefused(bad);
  }
  std::string flags = kStdinHeader;
  flags[9] = 4;
  CheckRefused(flags);
}

TEST_CASE("the longest payload passes") {
  std::string bytes;
  AppendFrame(bytes, FrameType::kStdout, 1, std::string(kMaxPayload, 'x'));
  FrameDecoder decoder;
  decoder.Feed(bytes);
  const auto frames = Take(decoder);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].payload.size() == kMaxPayload);
}

TEST_CASE("a broken frame stream stays broken") {
  FrameDecoder decoder;
  decoder.Feed(std::string(kHeaderSize, '\xff'));
  CHECK_FALSE(decoder.Next());
  std::string good;
  AppendFrame(good, FrameType::kPing, 0);
  decoder.Feed(good);
  CHECK_FALSE(decoder.Next());
}

}  // namespace
}  // namespace sallyport::guest
