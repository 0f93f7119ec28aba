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

TEST_CASE("a request that is refused after its answer began is not sent again") {
  Wire wire;
  Asking asking(*wire.connection, Head("GET"));
  wire.Settle();
  wire.peer->Write(Settings() + Fields(0, Literal(":status", "200")) +
                   Frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x7", 4)));
  wire.Settle();
  CHECK(asking.Text() ==
        "200 body:unknown\nbroken the server refused to take the request (REFUSED_STREAM)\n");
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

}  // namespace
}  // namespace sallyport::mitm::http2
