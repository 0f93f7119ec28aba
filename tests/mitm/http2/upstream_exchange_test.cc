#include <atomic>
#include <catch2/catch.hpp>
#include <list>

#include "mitm/authority.h"
#include "mitm/exchange.h"
#include "tests/mitm/http2/gate_parts.h"
#include "tests/mitm/http2/http2_origin.h"

// Exchanges of a guest that speaks HTTP/2, with servers that do and that don't.

namespace sallyport::mitm::http2 {
namespace {

/// The guest's side of one exchange, as a codec without a wire.
struct Guest final : GuestSide {
  Guest(FlowContext& flow, Request request, std::string its_body = {})
      : body(std::move(its_body)),
        deadline(flow.gate().loop, [this] { exchange->OnDeadline(); }),
        exchange(std::make_unique<Exchange>(flow, *this, deadline, std::move(request))) {
    exchange->Pump();
  }

  MessageEvent ReadBody(size_t max) override {
    if (sent == body.size()) return {MessageEvent::Kind::kEnd, {}};
    const auto piece = std::string_view(body).substr(sent, max);
    sent += piece.size();
    return {MessageEvent::Kind::kBody, piece};
  }
  const Headers& trailers() const override { return request_trailers; }
  const ProtocolError& error() const override { return no_error; }
  size_t Room() override { return 16 * 1024; }
  void WriteInterim(const ResponseHead&) override {}
  void WriteHead(const ResponseHead& its_head, BodyLength its_length) override {
    head = its_head;
    length = its_length;
  }
  void WriteBody(std::string_view piece) override { answer.append(piece); }
  void WriteEnd(const Headers& its_trailers) override {
    answer_trailers = its_trailers;
    ended = true;
  }
  void Break() override { broken = true; }
  void Resume() override { exchange->Pump(); }

  bool over() const { return exchange->finished(); }

  const std::string body;
  size_t sent = 0;
  Headers request_trailers;
  ProtocolError no_error;
  ResponseHead head;
  BodyLength length;
  std::string answer;
  Headers answer_trailers;
  bool ended = false;
  bool broken = false;
  Deadline deadline;
  std::unique_ptr<Exchange> exchange;
};

/// A gate without guests' connections.
struct Rig : GateParts {
  explicit Rig(Origin::Handler handler = Http2Origin(), const std::string& alpn = kSpeaksBoth)
      : GateParts(std::move(handler), alpn), flow(gate, Flow()) {
    flow.tls.encrypted = true;
    flow.tls.sni = "api.test";
    flow.tls.alpn = "h2";
  }

  static Request Ask(const std::string& method, const std::string& path) {
    Request request;
    request.head.method = method;
    request.head.scheme = "https";
    request.head.authority = "api.test";
    request.head.path = path;
    return request;
  }
  void Finish(const Guest& guest) {
    RunUntil([&guest] { return guest.over(); });
  }

  FlowContext flow;
};

TEST_CASE("requests of guests that speak HTTP/2 share a connection to a server that does") {
  Rig rig;
  std::list<Guest> guests;
  for (int i = 0; i < 20; ++i)
    guests.emplace_back(rig.flow, Rig::Ask("GET", "/" + std::to_string(i)));
  for (const Guest& guest : guests) rig.Finish(guest);
  int i = 0;
  for (const Guest& guest : guests) {
    CHECK(guest.head.status == 200);
    CHECK(guest.ended);
    CHECK(Contains(guest.answer, ":path: /" + std::to_string(i++) + "\n"));
  }
  CHECK(rig.origin.connections() == 1);
  CHECK(rig.pool.shared() == 1);
  CHECK(rig.audit.records.size() == 20);
  CHECK(rig.audit.records.back().address == IpAddress::V4(127, 0, 0, 1));
}

TEST_CASE("a guest that speaks HTTP/1.1 gets HTTP/1.1 from the same server") {
  Rig rig;
  Guest modern(rig.flow, Rig::Ask("GET", "/"));
  rig.Finish(modern);
  FlowContext other(rig.gate, Rig::Flow());
  other.tls = rig.flow.tls;
  other.tls.alpn = "http/1.1";
  Guest plain(other, Rig::Ask("GET", "/plain"));
  rig.Finish(plain);
  CHECK(Contains(plain.answer, "GET /plain HTTP/1.1\r\n"));
  CHECK(rig.pool.idle() == 1);
  // Neither takes the other's connection.
  Guest again(rig.flow, Rig::Ask("GET", "/again"));
  rig.Finish(again);
  CHECK(Contains(again.answer, ":path: /again\n"));
  CHECK(rig.origin.connections() == 2);
}

TEST_CASE("an HTTP/2 guest's request is translated for a server that speaks HTTP/1.1") {
  const bool knows_alpn = GENERATE(true, false);
  Rig rig(Echo, knows_alpn ? kSpeaksHttp1 : std::string());
  for (const char* path : {"/one", "/two"}) {
    Request request = Rig::Ask("POST", path);
    request.head.headers.Add("te", "trailers");
    request.body = {BodyLength::Kind::kUnknown, 0};
    Guest guest(rig.flow, request, "body");
    rig.Finish(guest);
    CHECK(guest.head.status == 200);
    CHECK(Contains(guest.answer, "POST " + std::string(path) + " HTTP/1.1\r\nHost: api.test\r\n"));
    CHECK(guest.answer.ends_with("body"));
  }
  CHECK(rig.origin.connections() == 1);
  CHECK(rig.pool.shared() == 0);
  CHECK(rig.pool.Learnt(rig.flow.target_key()) == Protocol::kHttp1);
}

TEST_CASE("gRPC is refused where the server speaks HTTP/1.1, and gRPC-Web is not") {
  Rig rig(Echo, kSpeaksHttp1);
  for (const char* type : {"application/grpc", "application/grpc+proto", "Application/gRPC;x"}) {
    Request request = Rig::Ask("POST", "/Service/Method");
    request.head.headers.Add("content-type", type);
    request.body = {BodyLength::Kind::kUnknown, 0};
    Guest guest(rig.flow, request, "message");
    rig.Finish(guest);
    CHECK(guest.sent == 0);
    REQUIRE_FALSE(rig.audit.records.empty());
    CHECK(rig.audit.records.back().reason == Reason::kUpstreamProtocol);
    CHECK(Contains(rig.audit.records.back().detail, "gRPC"));
  }
  CHECK(rig.origin.received() == 0);
  Request request = Rig::Ask("POST", "/Service/Method");
  request.head.headers.Add("content-type", "application/grpc-web+proto");
  Guest guest(rig.flow, request);
  rig.Finish(guest);
  CHECK(guest.head.status == 200);
  CHECK(rig.origin.connections() == 1);
}

TEST_CASE("a gRPC answer keeps its trailers") {
  Rig rig(Http2Origin([](Http2Server& server, Http2Server::Request& request) {
    const std::string message("\0\0\0\0\2ok", 7);
    server.Answer(request.id, {{":status", "200"}, {"content-type", "application/grpc"}},
                  request[":path"] == "/missing" ? nullptr : &message,
                  {{"grpc-status", "0"}, {"grpc-message", ""}});
  }));
  Request request = Rig::Ask("POST", "/Service/Method");
  request.head.headers.Add("content-type", "application/grpc");
  request.head.headers.Add("te", "trailers");
  request.body = {BodyLength::Kind::kUnknown, 0};
  Guest guest(rig.flow, request, "message");
  rig.Finish(guest);
  CHECK(guest.answer == std::string("\0\0\0\0\2ok", 7));
  REQUIRE(guest.answer_trailers.Find("grpc-status") != nullptr);
  CHECK(*guest.answer_trailers.Find("grpc-status") == "0");
  request.head.path = "/missing";
  Guest bare(rig.flow, request, "message");
  rig.Finish(bare);
  CHECK(bare.length.kind == BodyLength::Kind::kNone);
}

/// MESSAGE behind its five bytes of gRPC.
std::string Framed(const std::string& message) {
  std::string framed(5, '\0');
  framed[3] = static_cast<char>(message.size() >> 8 & 0xff);
  framed[4] = static_cast<char>(message.size() & 0xff);
  return framed + message;
}

/// TEXT as field NUMBER of a protobuf message: its tag and its size come before it.
std::string Field(int number, const std::string& text) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(text.size())} + text;
}

TEST_CASE("a gRPC stream that shows a value stays one, whatever the placeholder's length") {
  const std::string value = GENERATE("short123", "tok_0123456789abcdef0123456789abcdef01234567");
  const std::string rotated = GENERATE("", "a value that replaced it & is of another length");
  const std::string& shown = rotated.empty() ? value : rotated;
  // Two messages; the value is in the middle of the first one, and twice in the second.
  const std::string sent = Framed(Field(1, "before") + Field(2, shown) + Field(3, "behind")) +
                           Framed(Field(1, "x" + shown + "y" + shown));
  Rig rig(Http2Origin([&](Http2Server& server, Http2Server::Request& request) {
    server.Answer(request.id, {{":status", "200"}, {"content-type", "application/grpc+proto"}},
                  &sent, {{"grpc-status", "0"}, {"grpc-message", "no " + shown}});
  }));
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  REQUIRE(rig.secrets.Add(spec, std::move(*secrets::Secret::Create(value))));
  if (!rotated.empty()) {
    REQUIRE(rig.secrets.Rotate("TOKEN", std::move(*secrets::Secret::Create(rotated))));
  }
  const std::string placeholder = *rig.secrets.PlaceholderOf("TOKEN");
  Request request = Rig::Ask("POST", "/Service/Method");
  request.head.headers.Add("content-type", "application/grpc+proto");
  request.body = {BodyLength::Kind::kUnknown, 0};
  Guest guest(rig.flow, request, "message");
  rig.Finish(guest);
  std::string filler;
  while (filler.size() < shown.size()) filler += placeholder;
  filler.resize(shown.size());
  CHECK(guest.answer == Framed(Field(1, "before") + Field(2, filler) + Field(3, "behind")) +
                            Framed(Field(1, "x" + filler + "y" + filler)));
  REQUIRE(guest.answer_trailers.Find("grpc-message") != nullptr);
  CHECK(*guest.answer_trailers.Find("grpc-message") == "no " + placeholder);
}

TEST_CASE("a refused request is sent again once, whatever its method, if its body is still here") {
  std::atomic<int> refused{0};
  std::atomic<int> to_refuse{1};
  Rig rig(Http2Origin([&](Http2Server& server, Http2Server::Request& request) {
    if (to_refuse-- <= 0) return EchoHttp2(server, request);
    ++refused;
    server.Reset(request.id, NGHTTP2_REFUSED_STREAM);
  }));
  SECTION("once") {
    Guest guest(rig.flow, Rig::Ask("POST", "/"));
    rig.Finish(guest);
    CHECK(guest.head.status == 200);
    CHECK(rig.origin.connections() == 1);
  }
  SECTION("not twice") {
    to_refuse = 2;
    Guest guest(rig.flow, Rig::Ask("GET", "/"));
    rig.Finish(guest);
    CHECK(guest.head.status == 502);
    CHECK(Contains(guest.answer, "REFUSED_STREAM"));
    CHECK(refused == 2);
  }
  SECTION("not with a body that is gone") {
    Request request = Rig::Ask("POST", "/");
    request.body = {BodyLength::Kind::kUnknown, 0};
    Guest guest(rig.flow, request, "body");
    rig.Finish(guest);
    CHECK(guest.head.status == 502);
    CHECK(refused == 1);
  }
}

TEST_CASE("a connection that died while it was idle is replaced") {
  std::atomic<bool> leave{true};
  Rig rig([&](Origin::Connection& connection) {
    Http2Server server({}, EchoHttp2);
    for (std::string bytes = connection.Read(); !bytes.empty(); bytes = connection.Read()) {
      server.Feed(bytes);
      connection.Write(server.Take());
      if (server.requests.size() == 1 && leave.exchange(false)) return;
    }
  });
  Guest first(rig.flow, Rig::Ask("GET", "/"));
  rig.Finish(first);
  Guest second(rig.flow, Rig::Ask("GET", "/second"));
  rig.Finish(second);
  CHECK(Contains(second.answer, ":path: /second\n"));
  CHECK(rig.origin.connections() == 2);
}

TEST_CASE("a server that breaks HTTP/2 is a bad gateway that says so") {
  Rig rig([](Origin::Connection& connection) {
    connection.Read();
    connection.Write("HTTP/1.1 200 OK\r\n\r\n and what not");
    connection.Read();
  });
  Guest guest(rig.flow, Rig::Ask("GET", "/"));
  rig.Finish(guest);
  CHECK(guest.head.status == 502);
  CHECK(Contains(guest.answer, "the server broke the rules of HTTP/2"));
  CHECK(rig.audit.records.back().reason == Reason::kUpstreamProtocol);
}

TEST_CASE("a secret goes out as a never-indexed literal") {
  bool never_indexed = false;
  std::string seen;
  Rig rig(Http2Origin([&](Http2Server& server, Http2Server::Request& request) {
    for (const auto& field : request.fields) {
      if (field.name != "authorization") continue;
      seen = field.value;
      never_indexed = field.never_indexed;
    }
    EchoHttp2(server, request);
  }));
  SecretSpec spec;
  spec.name = "TOKEN";
  spec.hosts = {*HostPattern::Parse("api.test")};
  REQUIRE(rig.secrets.Add(spec, std::move(*secrets::Secret::Create("tok_0123456789abcdef"))));
  Request request = Rig::Ask("GET", "/");
  request.head.headers.Add("authorization", "Bearer " + *rig.secrets.PlaceholderOf("TOKEN"));
  Guest guest(rig.flow, request);
  rig.Finish(guest);
  CHECK(seen == "Bearer tok_0123456789abcdef");
  CHECK(never_indexed);
}

TEST_CASE("a guest that leaves while a connection is opened, or shared, takes nobody with it") {
  Rig rig;
  auto leaver = std::make_unique<Guest>(rig.flow, Rig::Ask("GET", "/"));
  Guest stayer(rig.flow, Rig::Ask("GET", "/stays"));
  leaver->exchange.reset();
  rig.Finish(stayer);
  CHECK(Contains(stayer.answer, ":path: /stays\n"));
  auto second = std::make_unique<Guest>(rig.flow, Rig::Ask("GET", "/"));
  second->exchange.reset();
  Guest last(rig.flow, Rig::Ask("GET", "/last"));
  rig.Finish(last);
  CHECK(Contains(last.answer, ":path: /last\n"));
  CHECK(rig.origin.connections() == 1);
}

}  // namespace
}  // namespace sallyport::mitm::http2
