#include <nghttp2/nghttp2.h>
#include <catch2/catch.hpp>

#include "mitm/http2/upstream_connection.h"
#include "mitm/limits.h"
#include "tests/mitm/http2/upstream_wire.h"

// Servers whose frames are made by hand: what each answer means, and what no good server would
// send.

namespace sallyport::mitm::http2 {
namespace {

constexpr uint8_t kData = NGHTTP2_DATA;

std::string Push() {
  return Frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1,
               std::string("\0\0\0\2", 4) + Literal(":method", "GET") + Literal(":path", "/") +
                   Literal(":scheme", "https") + Literal(":authority", "api.test"));
}
TEST_CASE("answers mean what they say, however they are cut") {
  struct Row {
    const char* what;
    std::string bytes;
    const char* text;
    const char* method = "GET";
  };
  const Row rows[] = {
      {"head and body", Fields(0, Ok() + Literal("a", "b")) + Frame(kData, kEndStream, 1, "hello"),
       "200 body:unknown a=b;\nbody hello\nend\n"},
      {"only a head", Fields(kEndStream, Ok()), "200 body:none\nend\n"},
      {"a length that is kept",
       Fields(0, Ok() + Literal("content-length", "4")) + Frame(kData, 0, 1, "ab") +
           Frame(kData, kEndStream, 1, "cd"),
       "200 body:4\nbody abcd\nend\n"},
      {"less than the length",
       Fields(0, Ok() + Literal("content-length", "4")) + Frame(kData, kEndStream, 1, "abc"),
       "200 body:4\nbody abc\nerror it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"more than the length",
       Fields(0, Ok() + Literal("content-length", "0")) + Frame(kData, kEndStream, 1, "ab"),
       "200 body:0\nerror it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"two lengths",
       Fields(0, Ok() + Literal("content-length", "1") + Literal("content-length", "2")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"to HEAD", Fields(kEndStream, Ok() + Literal("content-length", "9")), "200 body:9\nend\n",
       "HEAD"},
      {"not modified", Fields(kEndStream, Literal(":status", "304") + Literal("etag", "x")),
       "304 body:none etag=x;\nend\n"},
      {"interim answers",
       Fields(0, Literal(":status", "103") + Literal("link", "x")) +
           Fields(0, Literal(":status", "100")) + Fields(kEndStream, Literal(":status", "404")),
       "103 body:none link=x;\n100 body:none\n404 body:none\nend\n"},
      {"trailers",
       Fields(0, Ok()) + Frame(kData, 0, 1, "x") +
           Fields(kEndStream, Literal("grpc-status", "0") + Literal("set-cookie", "c=1")),
       "200 body:unknown\nbody x\nend grpc-status=0;\n"},
      {"trailers and no body", Fields(0, Ok()) + Fields(kEndStream, Literal("grpc-status", "5")),
       "200 body:unknown\nend grpc-status=5;\n"},
      {"padding",
       Fields(0, Ok()) +
           Frame(kData, kEndStream | NGHTTP2_FLAG_PADDED, 1, std::string("\2xy\0\0", 5)),
       "200 body:unknown\nbody xy\nend\n"},
      {"no status", Fields(kEndStream, Literal("a", "b")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a switch of protocols", Fields(0, Literal(":status", "101")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a status of two digits", Fields(0, Literal(":status", "20")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a status that is none", Fields(0, Literal(":status", "999")),
       "error its status is not one\n"},
      {"a field of the connection", Fields(kEndStream, Ok() + Literal("connection", "close")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"transfer-encoding", Fields(0, Ok() + Literal("transfer-encoding", "chunked")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"an uppercase name", Fields(kEndStream, Ok() + Literal("Name", "x")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a line end in a value", Fields(kEndStream, Ok() + Literal("a", "b\r\nc: d")),
       "error a field has characters that are not allowed there\n"},
      {"a NUL in a value", Fields(kEndStream, Ok() + Literal("a", std::string_view("b\0", 2))),
       "error a field has characters that are not allowed there\n"},
      {"a colon in a name", Fields(kEndStream, Ok() + Literal("a:b", "c")),
       "error a field has characters that are not allowed there\n"},
      {"a late pseudo-field", Fields(kEndStream, Literal("a", "b") + Ok()),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"two statuses", Fields(kEndStream, Ok() + Ok()),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a request's pseudo-field", Fields(kEndStream, Ok() + Literal(":path", "/")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a pseudo-field in trailers", Fields(0, Ok()) + Fields(kEndStream, Ok()),
       "200 body:unknown\nerror it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"an end that is only interim", Fields(kEndStream, Literal(":status", "103")),
       "error it breaks the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"data before a head", Frame(kData, kEndStream, 1, "x"),
       "broken the server broke the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"cut off in its body", Fields(0, Ok()) + Frame(kData, 0, 1, "half"),
       "200 body:unknown\nbody half\n"
       "broken the server closed the connection before its answer was complete\n"},
      {"cut off in a frame", Fields(0, Ok()).substr(0, 12),
       "broken the server closed the connection before its answer was complete\n"},
      {"data on a stream that nobody opened", Frame(kData, 0, 7, "x"),
       "broken the server broke the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"a push that crosses our SETTINGS, which is cancelled", Push() + Fields(kEndStream, Ok()),
       "200 body:none\nend\n"},
      {"a push after them", Frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "") + Push(),
       "broken the server broke the rules of HTTP/2 (PROTOCOL_ERROR)\n"},
      {"broken compression", Fields(0, "\xff\xff\xff\xff\xff\xff"),
       "broken the server broke the rules of HTTP/2 (COMPRESSION_ERROR)\n"},
      {"a frame that is too large", Frame(kData, 0, 1, std::string(16385, 'x')).substr(0, 60),
       "broken the server broke the rules of HTTP/2 (FRAME_SIZE_ERROR)\n"},
      {"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n",
       "broken the server broke the rules of HTTP/2 (FRAME_SIZE_ERROR)\n"},
      {"a window of 2^31", Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff"),
       "broken the server broke the rules of HTTP/2 (FLOW_CONTROL_ERROR)\n"},
      {"a reset", Frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\xb", 4)),
       "broken the server reset the request (ENHANCE_YOUR_CALM)\n"},
      {"a goodbye with an error",
       Frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\1\0\0\0\xb", 8)) + "x",
       "broken the server ended the connection (ENHANCE_YOUR_CALM)\n"},
      {"an unknown frame", Frame(0x77, 0x55, 3, "whatever") + Fields(kEndStream, Ok()),
       "200 body:none\nend\n"},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    const std::string bytes = Settings() + row.bytes;
    const std::string expected = std::string(row.method) + ":\n" + row.text;
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      INFO("cut at " << cut);
      const std::string_view view = bytes;
      REQUIRE(ReadAnswers({view.substr(0, cut), view.substr(cut)}, {row.method},
                          cut % 2 == 0 ? 1000 : 1) == expected);
    }
  }
}

TEST_CASE("answers to several requests may be mixed, and cut in three") {
  const std::string bytes = Settings() + Fields(0, Ok(), 3) +
                            Fields(0, Ok() + Literal("n", "1"), 1) + Frame(kData, 0, 3, "b1") +
                            Frame(kData, kEndStream, 1, "a") + Frame(kData, kEndStream, 3, "b2");
  http1::ForEachCut(bytes, [&](const std::vector<std::string_view>& pieces) {
    REQUIRE(ReadAnswers(pieces, {"GET", "PUT"}) ==
            "GET:\n200 body:unknown n=1;\nbody a\nend\n"
            "PUT:\n200 body:unknown\nbody b1b2\nend\n");
  });
}

TEST_CASE("a server that sends frames without end is left") {
  struct Row {
    const char* what;
    std::string frame;
  };
  const Row rows[] = {
      {"PING", Frame(NGHTTP2_PING, 0, 0, "12345678")},
      {"SETTINGS", Settings()},
      {"empty DATA", Frame(kData, 0, 1, "")},
      {"PRIORITY", Frame(NGHTTP2_PRIORITY, 0, 5, std::string("\0\0\0\0\1", 5))},
      {"WINDOW_UPDATE", Frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\0\0\1", 4))},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    std::string bytes = Settings() + Fields(0, Ok());
    for (int i = 0; i < 3 * kMaxControlFrames; ++i) bytes += row.frame;
    CHECK(ReadAnswers({bytes}) ==
          "GET:\n200 body:unknown\n"
          "broken the server floods the connection with frames that carry nothing\n");
  }
}

TEST_CASE("interim answers without end are an error") {
  std::string bytes = Settings();
  for (int i = 0; i < 100; ++i) bytes += Fields(0, Literal(":status", "103"));
  CHECK(ReadAnswers({bytes}).ends_with("error it never becomes a final one\n"));
}

TEST_CASE("a head that grows when it is decompressed is bounded") {
  // One entry of 3 KB in the table, named again and again by one byte each.
  std::string block = Ok() + "\x40";
  block += Literal("bomb", std::string(3000, 'b')).substr(1);
  SECTION("in bytes") {
    block += std::string(60, '\xbe');
  }
  SECTION("in fields") {
    block += std::string(10'000, '\x90');
  }
  CHECK(ReadAnswers({Settings() + Fields(0, block)}) ==
        "GET:\nerror its fields are more than the gate takes\n");
}

TEST_CASE("a head in continuations without end is left") {
  std::string bytes = Settings() + Frame(NGHTTP2_HEADERS, 0, 1, Ok());
  for (int i = 0; i < 5000; ++i) bytes += Frame(NGHTTP2_CONTINUATION, 0, 1, "");
  const std::string text = ReadAnswers({bytes});
  INFO(text);
  CHECK(text.starts_with("GET:\nbroken the server "));
}

TEST_CASE("a server may be destroyed with its connection at any byte") {
  const std::string bytes = Settings() + Fields(0, Ok()) + Frame(kData, kEndStream, 1, "hello");
  for (size_t size = 0; size <= bytes.size(); ++size) {
    Wire wire;
    auto asking = std::make_unique<Asking>(*wire.connection, Head());
    wire.peer->Write(bytes.substr(0, size));
    wire.Settle(static_cast<int>(size % 4));
    asking.reset();
    wire.connection.reset();
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
