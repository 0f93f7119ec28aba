#include "mitm/http2/upstream_connection.h"

#include <nghttp2/nghttp2.h>
#include <catch2/catch.hpp>

#include "mitm/limits.h"
#include "tests/mitm/http2/http2_server.h"
#include "tests/mitm/http2/upstream_wire.h"

// Conversations with a server by nghttp2, and with one that says by hand what no good server would.

namespace sallyport::mitm::http2 {
namespace {

using Kind = BodyLength::Kind;

/// A wire with an Http2Server at its other end.
struct Served final : Stream::Listener {
  explicit Served(Http2Server::OnRequest on_request = EchoHttp2, Http2Server::Options options = {},
                  MemoryStream::Options stream = {.capacity = 1 << 20})
      : wire(stream), server(options, std::move(on_request)) {
    wire.peer->SetListener(this);
  }

  void OnStreamReady() override { Pump(); }
  void Pump() {
    if (!wire.peer) return;
    const std::string bytes = wire.TakeSent();
    received += bytes;
    if (!bytes.empty()) CHECK(server.Feed(bytes));
    unsent += server.Take();
    unsent.erase(0, wire.peer->Write(unsent));
  }
  void Run(const std::function<bool()>& done) {
    for (int turns = 0; !done(); ++turns) {
      REQUIRE(turns < 20'000);
      const auto tick = wire.loop->Post([] {});
      REQUIRE(wire.loop->RunOnce());
      Pump();
    }
  }
  std::unique_ptr<Asking> Ask(const RequestHead& head, BodyLength body = {}) {
    return std::make_unique<Asking>(*wire.connection, head, body);
  }
  std::string Answer(const RequestHead& head) {
    const auto asking = Ask(head);
    Run([&] { return asking->over; });
    return asking->Text();
  }

  Wire wire;
  Http2Server server;
  std::string received;  // All that the server got.
  std::string unsent;
};

constexpr uint8_t kData = NGHTTP2_DATA;
constexpr uint8_t kHeaders = NGHTTP2_HEADERS;
constexpr uint8_t kEndStream = NGHTTP2_FLAG_END_STREAM;
constexpr uint8_t kEndHeaders = NGHTTP2_FLAG_END_HEADERS;

std::string Settings() {
  return Frame(NGHTTP2_SETTINGS, 0, 0, "");
}
std::string Fields(uint8_t flags, const std::string& block, uint32_t stream = 1) {
  return Frame(kHeaders, kEndHeaders | flags, stream, block);
}
std::string Push() {
  return Frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1,
               std::string("\0\0\0\2", 4) + Literal(":method", "GET") + Literal(":path", "/") +
                   Literal(":scheme", "https") + Literal(":authority", "api.test"));
}
std::string Ok() {
  return Literal(":status", "200");
}

// --- Requests ------------------------------------------------------------------------------------

TEST_CASE("a request reaches an HTTP/2 server with its fields, and its answer comes back") {
  Served served;
  RequestHead head = Head("GET", "/a");
  head.query = "b=c";
  head.headers.Add("X-Test", " padded\t");
  head.headers.Add("te", "trailers");
  head.headers.Add("Connection", "close");
  CHECK(served.Answer(head) ==
        "200 body:unknown x-by=http2;\n"
        "body :method: GET\n:scheme: https\n:authority: api.test\n:path: /a?b=c\n"
        "x-test: padded\nte: trailers\n\nend\n");
  CHECK(served.server.requests.at(1).closed);
  CHECK(served.wire.connection->exchanges() == 0);
}

TEST_CASE("a body's length is told only if it is known") {
  Served served;
  for (const BodyLength length : {BodyLength{Kind::kKnown, 5}, BodyLength{Kind::kUnknown, 0}}) {
    const auto asking = served.Ask(Head("POST"), length);
    served.wire.Settle();
    asking->side->WriteBody("hel");
    asking->side->Flush();
    served.wire.Settle();
    asking->side->WriteBody("lo");
    asking->side->WriteEnd({});
    served.Run([&] { return asking->over; });
    CHECK(asking->body.ends_with("\nhello"));
    const bool told = asking->body.find("content-length: 5\n") != std::string::npos;
    CHECK(told == (length.kind == Kind::kKnown));
  }
}

TEST_CASE("every field but method, scheme and authority is a never-indexed literal") {
  Served served;
  RequestHead head = Head("POST", "/path/of/secret");
  head.headers.Add("authorization", "Bearer very-secret");
  head.headers.Add("x-whatever", "very-secret, too");
  head.headers.Add("accept", "*/*");
  for (int i = 0; i < 3; ++i) served.Answer(head);
  CHECK(served.server.requests.size() == 3);
  for (const auto& [id, request] : served.server.requests) {
    for (const auto& field : request.fields) {
      INFO(field.name);
      const bool plain =
          field.name == ":method" || field.name == ":scheme" || field.name == ":authority";
      CHECK(field.never_indexed == !plain);
    }
  }
  // The bytes themselves, by a decoder of their own: its table holds the authority, nothing else.
  nghttp2_hd_inflater* inflater = nullptr;
  nghttp2_hd_inflate_new(&inflater);
  int heads = 0;
  for (size_t at = NGHTTP2_CLIENT_MAGIC_LEN; at + 9 <= served.received.size();) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(served.received[at + i]); };
    const size_t size =
        static_cast<size_t>(byte(0)) << 16 | static_cast<size_t>(byte(1)) << 8 | byte(2);
    if (byte(3) == NGHTTP2_HEADERS) {
      ++heads;
      std::string block = served.received.substr(at + 9, size);
      for (int flags = 0; !block.empty() && (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
        nghttp2_nv field;
        const ssize_t used =
            nghttp2_hd_inflate_hd2(inflater, &field, &flags,
                                   reinterpret_cast<const uint8_t*>(block.data()), block.size(), 1);
        REQUIRE(used >= 0);
        block.erase(0, static_cast<size_t>(used));
      }
      nghttp2_hd_inflate_end_headers(inflater);
    }
    at += 9 + size;
  }
  CHECK(heads == 3);
  constexpr size_t kStaticTable = 61;
  CHECK(nghttp2_hd_inflate_get_num_table_entries(inflater) == kStaticTable + 1);
  const nghttp2_nv* kept = nghttp2_hd_inflate_get_table_entry(inflater, kStaticTable + 1);
  REQUIRE(kept != nullptr);
  CHECK(std::string(reinterpret_cast<const char*>(kept->value), kept->valuelen) == "api.test");
  nghttp2_hd_inflate_del(inflater);
}

TEST_CASE("a head of the largest size goes out whole, whatever the wire takes at a time") {
  for (const size_t capacity : {size_t{20'000}, size_t{1} << 20}) {
    Served served(EchoHttp2, {}, {.capacity = capacity});
    RequestHead head = Head();
    for (int i = 0; i < 90; ++i) {
      head.headers.Add("x-" + std::to_string(i), std::string(700, static_cast<char>('!' + i)));
    }
    const auto asking = served.Ask(head);
    served.Run([&] { return asking->over; });
    CHECK(asking->body.find("x-89: " + std::string(700, '!' + 89)) != std::string::npos);
  }
}

TEST_CASE("a hundred exchanges share a connection, and the next ones have to wait") {
  Served served(nullptr);
  CHECK(served.wire.connection->HasRoom());
  std::vector<std::unique_ptr<Asking>> asked;
  asked.push_back(served.Ask(Head()));
  // Nobody knows yet how many the server takes.
  CHECK_FALSE(served.wire.connection->HasRoom());
  served.Run([&] { return served.wire.connection->HasRoom(); });
  while (served.wire.connection->HasRoom()) asked.push_back(served.Ask(Head()));
  CHECK(asked.size() == kMaxUpstreamStreams);
  served.Run([&] { return served.server.requests.size() == asked.size(); });
  asked.pop_back();
  CHECK(served.wire.connection->HasRoom());
  const Http2Server::Request& last = served.server.requests.rbegin()->second;
  served.Run([&] { return last.closed; });
  CHECK(last.close_code == NGHTTP2_CANCEL);
  for (auto& [id, request] : served.server.requests) {
    if (!request.closed) EchoHttp2(served.server, request);
  }
  served.Run([&] {
    return std::all_of(asked.begin(), asked.end(), [](const auto& one) { return one->over; });
  });
}

TEST_CASE("a server may allow fewer exchanges at once") {
  Served served(nullptr, {.max_streams = 2});
  const auto first = served.Ask(Head());
  served.Run([&] { return served.wire.connection->HasRoom(); });
  const auto second = served.Ask(Head());
  CHECK_FALSE(served.wire.connection->HasRoom());
}

// --- Flow control --------------------------------------------------------------------------------

TEST_CASE("a body waits for the server's window, in a bounded buffer") {
  Served served(EchoHttp2, {.opens_windows = false});
  const auto asking = served.Ask(Head("POST"), {Kind::kUnknown, 0});
  size_t sent = 0;
  const auto push = [&] {
    served.Run([turns = 0]() mutable { return ++turns > 20; });
    for (size_t room; (room = asking->side->Room()) > 0;) {
      asking->side->WriteBody(std::string(room, 'x'));
      asking->side->Flush();
      sent += room;
    }
  };
  for (int i = 0; i < 10; ++i) push();
  CHECK(served.server.requests.at(1).body.size() == 65535);
  CHECK(sent <= 65535 + kUpstreamStreamOutput);
  const int told = asking->told;
  served.server.OpenWindow(1, 1 << 20);
  served.server.OpenWindow(0, 1 << 20);
  served.Run([&] { return asking->told > told; });
  CHECK(asking->side->Room() > 0);
  asking->side->WriteEnd({});
  served.Run([&] { return asking->over; });
  CHECK(served.server.requests.at(1).body.size() == sent);
}

TEST_CASE("an answer that is not read stops at the stream's window, and others go on") {
  const std::string large(3 * static_cast<size_t>(kUpstreamStreamWindow), 'd');
  Served served([&](Http2Server& server, Http2Server::Request& request) {
    const std::string small = "small";
    server.Answer(request.id, {{":status", "200"}}, request[":path"] == "/large" ? &large : &small);
  });
  const auto slow = std::make_unique<Asking>(*served.wire.connection, Head("GET", "/large"));
  slow->reading = false;
  served.Run([turns = 0]() mutable { return ++turns > 200; });
  CHECK(served.Answer(Head("GET", "/small")).ends_with("body small\nend\n"));
  slow->reading = true;
  slow->Read(1 << 16);
  CHECK(slow->body.size() == static_cast<size_t>(kUpstreamStreamWindow));
  served.Run([&] { return slow->over; });
  CHECK(slow->body == large);
}

TEST_CASE("what is never read of an answer does not use up the connection's window") {
  const std::string large(static_cast<size_t>(kUpstreamStreamWindow), 'd');
  Served served([&](Http2Server& server, Http2Server::Request& request) {
    server.Answer(request.id, {{":status", "200"}}, &large);
  });
  for (int i = 0; i < 40; ++i) {  // 40 MiB through a window of 16.
    const auto asking = served.Ask(Head());
    asking->reading = false;
    served.Run([&] { return asking->told > 0; });
  }
  CHECK(served.Answer(Head()).ends_with("end\n"));
}

TEST_CASE("bodies of megabytes pass in both directions through a narrow wire") {
  Served served(EchoHttp2, {}, {.capacity = 20'000, .cut = 5'000});
  const auto asking = served.Ask(Head("PUT"), {Kind::kKnown, 2'000'000});
  size_t left = 2'000'000;
  served.Run([&] {
    while (left > 0) {
      const size_t size = std::min(asking->side->Room(), left);
      if (size == 0) break;
      asking->side->WriteBody(std::string(size, 'u'));
      left -= size;
      if (left == 0) asking->side->WriteEnd({});
    }
    asking->side->Flush();
    return left == 0 && asking->over;
  });
  CHECK(asking->body.ends_with(std::string(2'000'000, 'u')));
}

// --- Ends ----------------------------------------------------------------------------------------

TEST_CASE("an exchange that is given up is reset, and the connection goes on") {
  Served served(nullptr);
  auto asking = served.Ask(Head("POST"), {Kind::kKnown, 10});
  served.Run([&] { return served.server.requests.contains(1); });
  asking.reset();
  served.Run([&] { return served.server.requests.at(1).closed; });
  CHECK(served.server.requests.at(1).close_code == NGHTTP2_CANCEL);
  CHECK_FALSE(served.wire.connection->over());
  CHECK(served.wire.connection->HasRoom());
}

TEST_CASE("requests that are given up while the server does not read pile up to a bound") {
  Wire wire({.capacity = 2'000});
  wire.peer->Write(Settings());
  wire.Settle();
  RequestHead head = Head();
  head.headers.Add("x", std::string(10'000, 'x'));
  size_t asked = 0;
  for (; wire.connection->HasRoom(); ++asked) {
    REQUIRE(asked < 1000);
    Asking asking(*wire.connection, head);
    wire.Settle(1);
  }
  CHECK(asked > kMaxUpstreamStreams);
  CHECK(wire.connection->over());
}

TEST_CASE("a refused request may be sent again, one that was reset may not") {
  for (const uint32_t code : {NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR}) {
    Served served([&](Http2Server& server, Http2Server::Request& request) {
      server.Reset(request.id, code);
    });
    const std::string text = served.Answer(Head("POST"));
    INFO(text);
    CHECK(text.starts_with("broken the server re"));
    CHECK(text.ends_with(" unprocessed\n") == (code == NGHTTP2_REFUSED_STREAM));
    CHECK(served.wire.connection->HasRoom());
  }
}

TEST_CASE("an answer may end before its request, and a reset behind it takes nothing away") {
  for (const bool reset : {false, true}) {
    Wire wire;
    Asking asking(*wire.connection, Head("POST"), {Kind::kKnown, 10});
    wire.Settle();
    wire.peer->Write(Settings() + Fields(kEndStream, Literal(":status", "413")) +
                     (reset ? Frame(NGHTTP2_RST_STREAM, 0, 1, std::string(4, '\0')) : ""));
    wire.Settle();
    CHECK(asking.Text() == "413 body:none\nend\n");
    CHECK((asking.side->Room() == 0) == reset);
    asking.side.reset();
    wire.Settle();
    const std::string cancel = Frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x8", 4));
    CHECK(wire.TakeSent().ends_with(cancel) == !reset);
  }
}

TEST_CASE("GOAWAY ends the requests behind it, which may be sent again, and lets others finish") {
  Served served(nullptr);
  const auto first = served.Ask(Head("POST"));
  served.Run([&] { return served.wire.connection->HasRoom(); });
  const auto second = served.Ask(Head("POST"));
  served.Run([&] { return served.server.requests.size() == 2; });
  served.server.GoAway(1, NGHTTP2_NO_ERROR);
  served.Run([&] { return second->over; });
  CHECK(second->Text() ==
        "broken the server refused to take the request (REFUSED_STREAM) stale unprocessed\n");
  CHECK_FALSE(served.wire.connection->HasRoom());
  CHECK_FALSE(first->over);
  EchoHttp2(served.server, served.server.requests.at(1));
  served.Run([&] { return first->over; });
  CHECK(first->Text().ends_with("end\n"));
  CHECK_FALSE(served.wire.connection->over());
  CHECK(second->side->Room() == 0);
}

TEST_CASE("a connection that dies ends every exchange with a reason") {
  Served served([](Http2Server& server, Http2Server::Request& request) {
    if (request.id == 1) EchoHttp2(server, request);
  });
  CHECK(served.Answer(Head()).ends_with("end\n"));
  const auto get = served.Ask(Head());
  const auto post = served.Ask(Head("POST"), {Kind::kKnown, 10});
  served.wire.Settle();
  served.wire.peer->Abort();
  served.Run([&] { return get->over && post->over; });
  // It was used before, so the server may not have seen the requests.
  CHECK(get->Text() ==
        "broken the server closed the connection before its answer was complete stale\n");
  CHECK(post->Text() ==
        "broken the server closed the connection before its answer was complete"
        " stale\n");
  CHECK_FALSE(served.wire.connection->HasRoom());
  CHECK(served.wire.changed > 0);
}

TEST_CASE("an exchange on a dead connection fails, and may be tried elsewhere") {
  Wire wire;
  wire.peer->Abort();
  wire.Settle();
  Asking asking(*wire.connection, Head());
  wire.Settle();
  CHECK(asking.Text() == "broken the server closed the connection stale unprocessed\n");
}

TEST_CASE("a connection says goodbye when it is destroyed") {
  Served served;
  CHECK(served.Answer(Head()).ends_with("end\n"));
  served.wire.connection->Retire();
  CHECK(served.wire.connection->over());
  served.wire.connection.reset();
  served.wire.Settle();
  CHECK(served.server.client_said_goodbye);
}

TEST_CASE("exchanges and listeners may go away inside a listener's call") {
  struct Leaver final : UpstreamSide::Listener {
    void OnUpstreamReady() override { victims.clear(); }
    std::vector<std::unique_ptr<UpstreamSide>> victims;
  };
  Served served(nullptr);
  Leaver leaver;
  for (int i = 0; i < 3; ++i) {
    leaver.victims.push_back(served.wire.connection->Open(leaver));
    leaver.victims.back()->WriteHead(Head(), "api.test", {});
  }
  served.wire.Settle();
  served.wire.peer->Abort();
  served.Run([&] { return leaver.victims.empty(); });
  CHECK(served.wire.connection->over());
}

// --- Hand-made servers ---------------------------------------------------------------------------

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
  std::string bytes = Settings() + Frame(kHeaders, 0, 1, Ok());
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
