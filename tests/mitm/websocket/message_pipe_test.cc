#include "mitm/websocket/message_pipe.h"

#include <catch2/catch.hpp>
#include <string>

#include "mitm/limits.h"
#include "tests/mitm/conversation.h"
#include "tests/mitm/replacing_filter.h"
#include "tests/mitm/websocket/frames.h"

namespace sallyport::mitm::websocket {
namespace {

std::unique_ptr<ByteFilter> Replace(Opcode) {
  return std::make_unique<ReplacingFilter>("secret", "PLACEHOLDER");
}

/// What PIECES become on the way through a pipe.
std::string Through(MessagePipe& pipe, Sender sender, const std::vector<std::string_view>& pieces,
                    int* frames = nullptr) {
  Messages messages(sender);
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      std::string out;
      const Status fed = pipe.Feed(piece, out);
      messages.Feed(out);
      if (!fed) return messages.text + "failed " + fed.error().message();
    }
  }
  if (frames != nullptr) *frames = messages.frames;
  return messages.text;
}

TEST_CASE("messages pass their filters however they are cut and fragmented") {
  const std::string input = ServerFrame(Opcode::kText, "a sec", Fin::kMore) +
                            ServerFrame(Opcode::kPing, "x") +
                            ServerFrame(Opcode::kContinuation, "ret", Fin::kMore) +
                            ServerFrame(Opcode::kContinuation, "") +
                            ServerFrame(Opcode::kBinary, "se") + ServerFrame(Opcode::kText, "cret");
  http1::ForEachCut(input, [](const auto& pieces) {
    MessagePipe pipe(Sender::kServer, Replace, {});
    REQUIRE(Through(pipe, Sender::kServer, pieces) ==
            "ping x\ntext a PLACEHOLDER\nbinary se\ntext cret\n");
  });
}

TEST_CASE("what a client sends gets a fresh mask for each frame") {
  uint8_t next = 0;
  MessagePipe pipe(Sender::kClient, Replace, [&] {
    ++next;
    return Mask{next, next, next, next};
  });
  const std::string input = ClientFrame(Opcode::kText, "my secret") +
                            ClientFrame(Opcode::kBinary, "b") + ClientFrame(Opcode::kPong, "");
  CHECK(Through(pipe, Sender::kClient, {input}) == "text my PLACEHOLDER\nbinary b\npong \n");
  CHECK(next == 3);
}

TEST_CASE("a message that is there at once goes out as one frame") {
  MessagePipe pipe(Sender::kServer, Replace, {});
  int frames = 0;
  const std::string text(8000, 't');
  CHECK(Through(pipe, Sender::kServer, {ServerFrame(Opcode::kText, text)}, &frames) ==
        "text " + text + "\n");
  CHECK(frames == 1);
}

TEST_CASE("what a filter settled goes out before the message is complete") {
  MessagePipe pipe(Sender::kServer, Replace, {});
  const std::string frame = ServerFrame(Opcode::kText, "hello sec and more");
  std::string_view part = std::string_view(frame).substr(0, 2 + 9);  // "hello sec"
  std::string out;
  REQUIRE(pipe.Feed(part, out));
  CHECK(out == ServerFrame(Opcode::kText, "hello ", Fin::kMore));
}

TEST_CASE("a huge frame passes in pieces of bounded size") {
  MessagePipe pipe(Sender::kServer, Replace, {});
  const std::string payload(1024 * 1024, 'h');
  const std::string frame = ServerFrame(Opcode::kBinary, payload);
  Messages messages(Sender::kServer);
  for (std::string_view rest = frame; !rest.empty();) {
    std::string out;
    REQUIRE(pipe.Feed(rest, out));
    CHECK(out.size() <= kInputBlock + kSubstituteSlice + 28);
    messages.Feed(out);
  }
  CHECK((messages.text == "binary " + payload + "\n"));
}

TEST_CASE("a control frame that shows a value loses its payload, a close frame keeps its code") {
  MessagePipe pipe(Sender::kServer, Replace, {});
  const std::string input = ServerFrame(Opcode::kPing, "a secret") +
                            ServerFrame(Opcode::kPing, "a secre") +
                            ServerFrame(Opcode::kClose, CloseCode(1000) + "secret") +
                            ServerFrame(Opcode::kText, "behind the end");
  CHECK(Through(pipe, Sender::kServer, {input}) ==
        "ping \nping a secre\nclose " + CloseCode(1000) + "\n");
  CHECK(pipe.closed());
}

TEST_CASE("a frame that breaks the protocol ends the direction behind what was whole") {
  MessagePipe pipe(Sender::kServer, Replace, {});
  CHECK(Through(pipe, Sender::kServer,
                {ServerFrame(Opcode::kText, "x") + ClientFrame(Opcode::kText, "y")}) ==
        "text x\nfailed a server's frame with a mask");
}

}  // namespace
}  // namespace sallyport::mitm::websocket
