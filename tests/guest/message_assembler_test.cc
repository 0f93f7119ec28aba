#include "guest/protocol/message_assembler.h"

#include <catch2/catch.hpp>
#include <vector>

#include "guest/protocol/stream_credit.h"

namespace sallyport::guest {
namespace {

std::vector<Frame> Frames(const std::string& bytes) {
  FrameDecoder decoder;
  decoder.Feed(bytes);
  std::vector<Frame> frames;
  while (auto frame = decoder.Next().value()) frames.push_back(*std::move(frame));
  return frames;
}

Frame Piece(FrameType type, uint32_t stream, uint8_t flags, std::string payload) {
  return {
      .type = type, .stream = stream, .flags = flags, .credit = 0, .payload = std::move(payload)};
}

TEST_CASE("a message of any size up to the limit is joined again") {
  for (const size_t size : {size_t{0}, size_t{1}, kMaxPayload, kMaxPayload + 1, kMaxMessage}) {
    const std::string message(size, 'x');
    std::string bytes;
    REQUIRE(AppendMessage(bytes, FrameType::kExec, 9, message, 5));
    MessageAssembler assembler;
    std::vector<Frame> whole;
    for (Frame& frame : Frames(bytes)) {
      auto joined = assembler.Add(std::move(frame));
      REQUIRE(joined);
      if (*joined) whole.push_back(**std::move(joined));
    }
    REQUIRE(whole.size() == 1);
    CHECK(whole[0].payload == message);
    CHECK(whole[0].stream == 9);
    CHECK(whole[0].credit == 5);
    CHECK_FALSE(whole[0].more());
  }
}

TEST_CASE("a message over the limit is neither sent nor taken") {
  std::string bytes;
  CHECK_FALSE(AppendMessage(bytes, FrameType::kExec, 1, std::string(kMaxMessage + 1, 'x')));
  CHECK(bytes.empty());
  MessageAssembler assembler;
  const std::string piece(kMaxPayload, 'x');
  for (size_t sent = 0; sent < kMaxMessage; sent += kMaxPayload) {
    REQUIRE(assembler.Add(Piece(FrameType::kExec, 1, kFlagMore, piece)));
  }
  const auto over = assembler.Add(Piece(FrameType::kExec, 1, 0, "x"));
  REQUIRE_FALSE(over);
  CHECK(over.error().code() == Code::kLimit);
}

TEST_CASE("nothing else may stand within a message") {
  for (const Frame& other :
       {Piece(FrameType::kExec, 2, 0, ""), Piece(FrameType::kPing, 1, 0, ""),
        Piece(FrameType::kStdin, 1, 0, ""), Piece(FrameType::kExec, 1, kFlagEnd, "")}) {
    MessageAssembler assembler;
    REQUIRE(assembler.Add(Piece(FrameType::kExec, 1, kFlagMore, "a")));
    CHECK_FALSE(assembler.Add(other));
  }
  MessageAssembler assembler;
  CHECK_FALSE(assembler.Add(Piece(FrameType::kStdout, 1, kFlagMore, "a")));
}

TEST_CASE("bulk frames pass through with their end") {
  MessageAssembler assembler;
  const auto frame = assembler.Add(Piece(FrameType::kStdin, 1, kFlagEnd, "a"));
  REQUIRE(frame);
  REQUIRE(*frame);
  CHECK((*frame)->end());
}

TEST_CASE("a sender's credit is spent and granted, and does not wrap around") {
  SendCredit credit;
  CHECK(credit.available() == kInitialCredit);
  credit.Spend(kInitialCredit);
  CHECK(credit.available() == 0);
  CHECK(credit.Grant(10));
  CHECK(credit.available() == 10);
  CHECK_FALSE(credit.Grant(0xffffffff));
  CHECK_FALSE(credit.Grant(SendCredit::kMax));
  CHECK(credit.available() == 10);
}

TEST_CASE("a receiver refuses bytes without credit and grants what was consumed") {
  ReceiveCredit credit;
  REQUIRE(credit.OnReceived(kInitialCredit));
  CHECK_FALSE(credit.OnReceived(1));
  CHECK(credit.OnConsumed(1) == 0);
  CHECK(credit.OnConsumed(kInitialCredit / 4 - 1) == kInitialCredit / 4);
  CHECK(credit.OnReceived(kInitialCredit / 4));
  CHECK_FALSE(credit.OnReceived(1));
  CHECK(credit.OnConsumed(kInitialCredit) == kInitialCredit);
}

}  // namespace
}  // namespace sallyport::guest
