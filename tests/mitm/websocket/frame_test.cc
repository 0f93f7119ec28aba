#include "mitm/websocket/frame.h"

#include <catch2/catch.hpp>
#include <string>

#include "mitm/websocket/handshake.h"
#include "tests/mitm/conversation.h"
#include "tests/mitm/websocket/frames.h"

namespace sallyport::mitm::websocket {
namespace {

using namespace std::string_literals;

std::string FromServer(const std::string& bytes) {
  return Say(Sender::kServer, {bytes});
}
std::string FromClient(const std::string& bytes) {
  return Say(Sender::kClient, {bytes});
}

TEST_CASE("frames mean the same however they are cut") {
  const std::string client = ClientFrame(Opcode::kText, "Hel", Fin::kMore) +
                             ClientFrame(Opcode::kPing, "p") +
                             ClientFrame(Opcode::kContinuation, "lo") +
                             ClientFrame(Opcode::kBinary, "") + ClientFrame(Opcode::kClose, "");
  http1::ForEachCut(client, [](const auto& pieces) {
    REQUIRE(Say(Sender::kClient, pieces) == "ping p\ntext Hello\nbinary \nclose \n");
  });
}

TEST_CASE("the examples of RFC 6455, 5.7 are read") {
  CHECK(FromServer("\x81\x05Hello"s) == "text Hello\n");
  CHECK(FromClient("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s) == "text Hello\n");
  CHECK(FromServer("\x01\x03Hel\x80\x02lo"s) == "text Hello\n");
  CHECK(FromServer("\x89\x05Hello"s) == "ping Hello\n");
}

TEST_CASE("payloads of every length encoding come out as they went in") {
  for (const size_t size : {0u, 1u, 125u, 126u, 65535u, 65536u, 70000u}) {
    const std::string payload(size, 'x');
    CHECK(FromServer(ServerFrame(Opcode::kBinary, payload)) == "binary " + payload + "\n");
    CHECK(FromClient(ClientFrame(Opcode::kBinary, payload)) == "binary " + payload + "\n");
  }
}

TEST_CASE("what breaks RFC 6455 is an error, and nothing is read behind it") {
  const auto fails = [](Sender sender, std::string bytes, const std::string& why) {
    bytes += sender == Sender::kServer ? "\x81\x01x"s : ClientFrame(Opcode::kText, "x");
    CHECK(Say(sender, {bytes}) == "error " + why + "\n");
  };
  fails(Sender::kServer, "\xc1\x00"s, "a frame with a reserved bit");
  fails(Sender::kServer, "\xa1\x00"s, "a frame with a reserved bit");
  fails(Sender::kServer, "\x91\x00"s, "a frame with a reserved bit");
  fails(Sender::kServer, "\x83\x00"s, "a frame with a reserved opcode");
  fails(Sender::kServer, "\x8b\x00"s, "a frame with a reserved opcode");
  fails(Sender::kServer, "\x81\x80\x01\x02\x03\x04"s, "a server's frame with a mask");
  fails(Sender::kClient, "\x81\x00"s, "a client's frame without a mask");
  fails(Sender::kServer, "\x81\x7e\x00\x7d"s, "a frame whose length is not in its shortest form");
  fails(Sender::kServer, "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff"s,
        "a frame whose length is not in its shortest form");
  fails(Sender::kServer, "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"s,
        "a frame whose length has its highest bit set");
  fails(Sender::kServer, "\x09\x00"s, "a control frame in fragments");
  fails(Sender::kServer, "\x89\x7e\x00\x7e"s, "a control frame longer than 125 bytes");
  fails(Sender::kServer, "\x88\x01\x03"s, "a close frame with half a code");
  fails(Sender::kServer, "\x80\x00"s, "a continuation without a message");
  fails(Sender::kServer, "\x01\x00\x81\x00"s, "a message that begins inside of another");
  fails(Sender::kServer, "\x01\x00\x80\x00\x80\x00"s.substr(2), "a continuation without a message");
}

TEST_CASE("a key is answered as RFC 6455, 1.3 shows") {
  CHECK(AcceptOf("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST_CASE("a handshake needs one key of 16 bytes, version 13 and GET") {
  RequestHead head;
  head.method = "GET";
  head.headers.Add("Sec-WebSocket-Version", "13");
  const auto with_key = [&](const std::string& key) {
    head.headers.Set("Sec-WebSocket-Key", key);
    return KeyOf(head).has_value();
  };
  CHECK_FALSE(KeyOf(head));
  CHECK(with_key("dGhlIHNhbXBsZSBub25jZQ=="));
  CHECK(with_key(MakeKey()));
  CHECK_FALSE(with_key("dGhlIHNhbXBsZSBub25jZQ="));
  CHECK_FALSE(with_key("dGhlIHNhbXBsZSBub25jZTEy"));  // 18 bytes.
  CHECK_FALSE(with_key("dGhlIHNhbXBsZSBub25jZ!=="));
  REQUIRE(with_key("dGhlIHNhbXBsZSBub25jZQ=="));
  SECTION("two keys") {
    head.headers.Add("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    CHECK_FALSE(KeyOf(head));
  }
  SECTION("another method") {
    head.method = "POST";
    CHECK_FALSE(KeyOf(head));
  }
  SECTION("another version") {
    head.headers.Set("sec-websocket-version", "8");
    CHECK_FALSE(KeyOf(head));
  }
}

TEST_CASE("an answer must have the right accept and no extension that was not offered") {
  RequestHead request;
  request.headers.Add("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits, x");
  PrepareRequest(request, "dGhlIHNhbXBsZSBub25jZQ==", Extensions::kAsOffered);
  ResponseHead answer;
  const auto refused = [&] { return CheckAnswer(answer, request, "dGhlIHNhbXBsZSBub25jZQ=="); };
  CHECK(refused());
  answer.headers.Add("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK_FALSE(refused());
  answer.headers.Add("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover");
  CHECK_FALSE(refused());
  PrepareRequest(request, "dGhlIHNhbXBsZSBub25jZQ==", Extensions::kNone);
  CHECK(refused());
  answer.headers.Remove("Sec-WebSocket-Extensions");
  answer.headers.Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOa=");
  CHECK(refused());
}

}  // namespace
}  // namespace sallyport::mitm::websocket
