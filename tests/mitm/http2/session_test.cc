#include "mitm/http2/session.h"

#include <catch2/catch.hpp>
#include <future>
#include <string>

#include "mitm/authority.h"
#include "mitm/guest_tls.h"
#include "mitm/limits.h"
#include "tests/mitm/http2/harness.h"

namespace sallyport::mitm::http2 {
namespace {

using policy::FakeEngine;

TEST_CASE("a request over HTTP/2 goes to an origin of HTTP/1.1 and its answer comes back") {
  TestSessions gate;
  auto guest = gate.Open();
  const auto& answer = gate.Await(*guest, guest->client.Ask(Asking({{"x-test", "1"}})));
  CHECK(answer.status == 200);
  CHECK(answer.body == "GET / HTTP/1.1\r\nHost: api.test\r\nx-test: 1\r\n\r\n");
  CHECK(answer.Field("content-length") == std::to_string(answer.body.size()));
  CHECK(answer.code == NGHTTP2_NO_ERROR);
  REQUIRE(gate.audit.records.size() == 1);
  const AuditRecord& record = gate.audit.records[0];
  CHECK(record.transport == "https");
  CHECK(record.path == "/");
  CHECK(record.status == 200);
  CHECK(record.allowed);
}

TEST_CASE("extended CONNECT and the old priorities are not offered, limits are") {
  TestSessions gate;
  auto guest = gate.Open();
  gate.Await(*guest, guest->client.Get("/"));
  const auto& settings = guest->client.settings;
  CHECK_FALSE(settings.contains(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL));
  CHECK(settings.at(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == kMaxStreams);
  CHECK(settings.at(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE) == kMaxHeadBytes);
  CHECK(settings.at(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES) == 1);
}

TEST_CASE("a hundred requests at once are each decided and answered by themselves") {
  TestSessions gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts& tls, RequestHead& head) {
    CHECK(tls.alpn == "h2");
    if (head.path.ends_with("7")) return FakeEngine::Deny({});
    return FakeEngine::Forward();
  });
  auto guest = gate.Open();
  std::vector<int32_t> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(guest->client.Get("/" + std::to_string(i)));
  for (int i = 0; i < 100; ++i) {
    const auto& answer = gate.Await(*guest, ids[static_cast<size_t>(i)]);
    if (i % 10 == 7) {
      CHECK(answer.status == 403);
      CHECK(answer.Field("content-type") == "application/problem+json");
    } else {
      CHECK(Contains(answer.body, "GET /" + std::to_string(i) + " HTTP"));
    }
  }
  CHECK(gate.engine.asked == 100);
  CHECK(gate.audit.records.size() == 100);
  CHECK(gate.gate.streams == 0);
}

TEST_CASE("each stream's authority is compared with the connection's, whatever others said") {
  TestSessions gate;
  auto guest = gate.Open();
  std::vector<std::pair<int32_t, int>> asked;
  for (const auto& [authority, status] :
       std::vector<std::pair<std::string, int>>{{"api.test", 200},
                                                {"evil.test", 421},
                                                {"API.test:443", 200},
                                                {"api.test:80", 421},
                                                {"api.test", 200},
                                                {"", 421},
                                                {"api.test@evil.test", 421},
                                                {"api.test.", 200},
                                                {"evil.test", 421}}) {
    asked.emplace_back(
        guest->client.Ask(
            {{":method", "GET"}, {":scheme", "https"}, {":authority", authority}, {":path", "/"}}),
        status);
  }
  for (const auto& [id, status] : asked) {
    const auto& answer = gate.Await(*guest, id);
    CHECK(answer.status == status);
    if (status == 200) CHECK(Contains(answer.body, "\r\nHost: api.test\r\n"));
  }
}

TEST_CASE("requests sent elsewhere by a rule don't take the others along") {
  TestSessions gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    auto verdict = FakeEngine::Forward();
    if (head.path == "/elsewhere") verdict.to = *ParseAuthority("other.test:8443");
    return verdict;
  });
  auto guest = gate.Open();
  const int32_t first = guest->client.Get("/");
  const int32_t second = guest->client.Get("/elsewhere");
  const int32_t third = guest->client.Get("/");
  for (const int32_t id : {first, second, third}) CHECK(gate.Await(*guest, id).status == 200);
  int elsewhere = 0;
  for (const Destination& destination : gate.dialer.dialed) elsewhere += destination.port == 8443;
  CHECK(elsewhere == 1);
}

TEST_CASE("CONNECT is refused") {
  TestSessions gate;
  auto guest = gate.Open();
  const auto& answer = gate.Await(
      *guest, guest->client.Ask({{":method", "CONNECT"}, {":authority", "api.test:443"}}));
  CHECK(answer.status == 501);
  CHECK(gate.engine.asked == 0);
}

TEST_CASE("a malformed request is answered and recorded, and others go on") {
  TestSessions gate;
  auto guest = gate.Open();
  const int32_t bad = guest->client.Ask(Asking({{"connection", "close"}}));
  const int32_t good = guest->client.Get("/");
  CHECK(gate.Await(*guest, bad).status == 400);
  CHECK(gate.Await(*guest, good).status == 200);
  CHECK(gate.audit.records.size() == 2);
  CHECK(gate.engine.asked == 1);
}

TEST_CASE("bodies of megabytes go up and come down") {
  TestSessions gate;
  auto guest = gate.Open();
  std::string body(3'000'000, 'u');
  for (size_t i = 0; i < body.size(); i += 1001) body[i] = static_cast<char>('a' + i % 26);
  const int32_t chunked = guest->client.Ask(Asking({}, "POST"), &body);
  const int32_t sized =
      guest->client.Ask(Asking({{"content-length", std::to_string(body.size())}}, "POST"), &body);
  for (const int32_t id : {chunked, sized}) {
    const auto& answer = gate.Await(*guest, id);
    CHECK(answer.status == 200);
    CHECK(answer.body.ends_with("\r\n\r\n" + body));
    CHECK(Contains(answer.body,
                   id == sized ? "Content-Length: 3000000\r\n" : "Transfer-Encoding: chunked\r\n"));
  }
  CHECK(gate.audit.records[0].bytes_up >= body.size());
}

TEST_CASE("a slow origin stops the guest's upload, and only that one") {
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  TestSessions gate([&](Origin::Connection& connection) {
    for (;;) {
      const std::string head = connection.ReadHead();
      if (head.empty()) return;
      if (Contains(head, "/slow")) gone.wait();
      connection.Answer(std::to_string(connection.ReadBody(head).size()));
    }
  });
  auto guest = gate.Open();
  const int32_t slow = guest->client.Post("/slow");
  guest->client.More(slow, std::string(30'000'000, 's'));
  const int32_t other = guest->client.Get("/other");
  CHECK(gate.Await(*guest, other).status == 200);
  gate.Settle();
  CHECK(guest->client.unsent(slow) > 10'000'000);
  guest->client.Finish(slow);
  go.set_value();
  CHECK(gate.Await(*guest, slow).body == "30000000");
}

TEST_CASE("a guest without windows stops the origin, and gets everything in the end") {
  const std::string body(4'000'000, 's');
  TestSessions gate([&](Origin::Connection& connection) {
    while (!connection.ReadHead().empty()) connection.Answer(body);
  });
  auto guest = gate.Open({.opens_windows = false, .window = 1});
  const int32_t id = guest->client.Get("/");
  const int32_t other = guest->client.Get("/");
  gate.RunUntil([&] { return guest->client.answer(id).body.size() == 1; });
  gate.Settle();
  CHECK(guest->client.answer(id).body.size() == 1);
  CHECK(gate.audit.records.empty());
  guest->client.OpenWindows(other, body.size());
  CHECK(gate.Await(*guest, other).body == body);
  guest->client.OpenWindows(id, body.size());
  CHECK(gate.Await(*guest, id).body == body);
}

TEST_CASE("a window that opens byte by byte ends the connection") {
  TestSessions gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Answer(std::string(1'000'000, 'x'));
  });
  auto guest = gate.Open({.opens_windows = false, .window = 0});
  const int32_t id = guest->client.Get("/");
  gate.RunUntil([&] { return guest->client.answer(id).headed; });
  for (int i = 0; i < 3000; ++i) guest->client.Raw(http2::OpenWindow(static_cast<uint32_t>(id), 1));
  gate.RunUntil([&] { return guest->client.ended || guest->client.broken; });
  CHECK(guest->client.goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
  CHECK(gate.audit.records.back().reason == Reason::kLimit);
}

TEST_CASE("HEAD, 204 and 304 end with their head") {
  TestSessions gate(Bodiless);
  auto guest = gate.Open();
  const auto& head = gate.Await(*guest, guest->client.Ask(Asking({}, "HEAD")));
  CHECK(head.status == 200);
  CHECK(head.Field("content-length") == "1234");
  CHECK(gate.Await(*guest, guest->client.Get("/204")).status == 204);
  CHECK(gate.Await(*guest, guest->client.Get("/304")).Field("etag") == "x");
  CHECK(gate.Await(*guest, guest->client.Get("/empty")).Field("content-length") == "0");
  CHECK_FALSE(Contains(guest->client.wire, std::string("\0\0\0\0\x01", 5)));  // No empty DATA.
}

TEST_CASE("100 Continue is said once the origin is there; early hints and trailers are relayed") {
  TestSessions gate([](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    connection.ReadBody(head);
    connection.Write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    connection.Write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nAlt-Svc: h3\r\n\r\n"
        "3\r\nabc\r\n0\r\nX-Sum: 5\r\nContent-Type: no\r\n\r\n");
  });
  auto guest = gate.Open();
  const int32_t id = guest->client.Post("/", {{"expect", "100-continue"}});
  gate.RunUntil([&] { return !guest->client.answer(id).interim.empty(); });
  CHECK(guest->client.answer(id).interim == std::vector<int>{100});
  guest->client.More(id, "body");
  guest->client.Finish(id);
  const auto& answer = gate.Await(*guest, id);
  CHECK(answer.interim == std::vector<int>{100, 103});
  CHECK(answer.status == 200);
  CHECK(answer.body == "abc");
  CHECK(answer.trailers == Fields{{"x-sum", "5"}});
  CHECK(answer.Field("alt-svc").empty());
}

TEST_CASE("trailers may follow a head alone") {
  TestSessions gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 5\r\n\r\n");
  });
  auto guest = gate.Open();
  const auto& answer = gate.Await(*guest, guest->client.Get("/"));
  CHECK(answer.trailers == Fields{{"x-sum", "5"}});
  CHECK(answer.ended);
}

TEST_CASE("a head of many frames reaches the guest whole") {
  const std::string value(15'000, 'v');
  TestSessions gate([&](Origin::Connection& connection) {
    connection.ReadHead();
    std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    for (int i = 0; i < 4; ++i) head += "X-" + std::to_string(i) + ": " + value + "\r\n";
    connection.Write(head + "\r\nok");
  });
  auto guest = gate.Open();
  const auto& answer = gate.Await(*guest, guest->client.Get("/"));
  CHECK(answer.status == 200);
  CHECK(answer.Field("x-3") == value);
  CHECK(answer.body == "ok");
}

TEST_CASE("a guest that does not read goes on being read") {
  TestSessions gate;
  auto guest = gate.Open({}, {.capacity = 20 * 1024});
  gate.Await(*guest, guest->client.Get("/"));
  const std::string body(200'000, 'b');
  guest->client.reading = false;
  const int32_t first = guest->client.Ask(Asking({}, "POST"), &body);
  const int32_t second = guest->client.Ask(Asking({}, "POST"), &body);
  gate.Settle();
  // Both uploads went as far as the window that the guest knew, with answers on their way.
  CHECK(guest->client.unsent(first) + guest->client.unsent(second) < 2 * body.size() - 60'000);
  guest->client.reading = true;
  guest->client.Pump();
  CHECK(gate.Await(*guest, first).body.ends_with(body));
  CHECK(gate.Await(*guest, second).body.ends_with(body));
}

TEST_CASE("an answer before the request is complete is relayed, then the stream is reset") {
  TestSessions gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    while (!connection.Read().empty()) {
    }
  });
  auto guest = gate.Open();
  const int32_t id = guest->client.Post("/");
  guest->client.More(id, std::string(5'000'000, 'x'));
  const auto& answer = gate.Await(*guest, id);
  CHECK(answer.status == 413);
  CHECK(answer.body == "no");
  CHECK(answer.ended);
  CHECK(answer.code == NGHTTP2_NO_ERROR);
  // Its window comes back: the connection's is smaller than what was thrown away.
  for (int i = 0; i < 8; ++i) {
    const int32_t next = guest->client.Post("/");
    guest->client.More(next, std::string(5'000'000, 'x'));
    CHECK(gate.Await(*guest, next).status == 413);
  }
}

TEST_CASE("an answer that is cut off resets its stream, and no other") {
  TestSessions gate([](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    if (Contains(head, "/cut")) {
      connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      return connection.Cut();
    }
    connection.Answer("whole");
  });
  auto guest = gate.Open();
  const int32_t cut = guest->client.Get("/cut");
  const int32_t whole = guest->client.Get("/whole");
  CHECK(gate.Await(*guest, cut).code == NGHTTP2_INTERNAL_ERROR);
  CHECK_FALSE(guest->client.answer(cut).ended);
  CHECK(gate.Await(*guest, whole).body == "whole");
  CHECK_FALSE(guest->client.goaway);
}

TEST_CASE("a request that its guest cancels is given up, and recorded") {
  TestSessions gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 103 Early Hints\r\n\r\n");
    while (!connection.Read().empty()) {
    }
  });
  auto guest = gate.Open();
  const int32_t id = guest->client.Get("/");
  gate.RunUntil([&] { return !guest->client.answer(id).interim.empty(); });
  guest->client.Cancel(id);
  gate.RunUntil([&] { return gate.audit.records.size() == 1; });
  CHECK(Contains(gate.audit.records[0].detail, "the client left"));
  CHECK(gate.gate.streams == 0);
}

TEST_CASE("rapid resets end the connection, with one record of it") {
  TestSessions gate;
  gate.Deny();
  auto guest = gate.Open();
  for (int i = 0; i < 400 && !guest->client.goaway; ++i)
    guest->client.Cancel(guest->client.Get("/"));
  gate.RunUntil([&] { return guest->client.ended || guest->client.broken; });
  CHECK(guest->client.goaway_code == NGHTTP2_ENHANCE_YOUR_CALM);
  int limits = 0;
  for (const AuditRecord& record : gate.audit.records) limits += record.reason == Reason::kLimit;
  CHECK(limits == 1);
  CHECK(gate.audit.records.back().detail ==
        "the HTTP/2 connection was ended (ENHANCE_YOUR_CALM): too many requests were cancelled "
        "(RST_STREAM)");
  CHECK(gate.gate.streams == 0);
}

TEST_CASE("frames that break the protocol end the connection, with a record") {
  TestSessions gate;
  auto guest = gate.Open();
  gate.Await(*guest, guest->client.Get("/"));
  guest->client.Raw(Data(99, "x"));
  gate.RunUntil([&] { return guest->client.ended; });
  CHECK(guest->client.goaway_code == NGHTTP2_PROTOCOL_ERROR);
  CHECK(gate.audit.records.back().reason == Reason::kBadRequest);
  CHECK(Contains(gate.audit.records.back().detail, "PROTOCOL_ERROR"));
  gate.RunUntil([&] { return guest->session == nullptr || guest->client.ended; });
}

TEST_CASE("a guest that says goodbye gets its answers first") {
  TestSessions gate;
  auto guest = gate.Open();
  const int32_t id = guest->client.Get("/");
  guest->client.Goodbye();
  CHECK(gate.Await(*guest, id).status == 200);
  gate.RunUntil([&] { return guest->client.ended; });
}

TEST_CASE("a guest that ends its direction gets its answers first") {
  TestSessions gate;
  auto guest = gate.Open();
  const int32_t id = guest->client.Get("/");
  guest->client.CloseWrite();
  const auto& answer = gate.Await(*guest, id);
  CHECK(answer.status == 200);
  CHECK(answer.ended);
  gate.RunUntil([&] { return guest->session == nullptr; });
  CHECK(guest->client.goaway_code == NGHTTP2_NO_ERROR);
}

TEST_CASE(
    "more requests than begin in a turn are all answered, also to a guest that said no more") {
  TestSessions gate;
  gate.Deny();
  auto guest = gate.Open();
  std::vector<int32_t> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(guest->client.Get("/"));
  guest->client.CloseWrite();
  for (const int32_t id : ids) CHECK(gate.Await(*guest, id).status == 403);
}

TEST_CASE("a session that is destroyed says GOAWAY") {
  TestSessions gate;
  auto guest = gate.Open();
  gate.Await(*guest, guest->client.Get("/"));
  guest->OnSessionOver();
  gate.RunUntil([&] { return guest->client.ended; });
  CHECK(guest->client.goaway);
  CHECK(guest->client.goaway_code == NGHTTP2_NO_ERROR);
}

TEST_CASE("streams beyond the gate's bound are refused as not begun") {
  TestSessions gate;
  gate.gate.streams = kMaxStreamsOfGate;
  auto guest = gate.Open();
  CHECK(gate.Await(*guest, guest->client.Get("/")).code == NGHTTP2_REFUSED_STREAM);
  CHECK(gate.audit.records.back().reason == Reason::kLimit);
  gate.gate.streams = 0;
  CHECK(gate.Await(*guest, guest->client.Get("/")).status == 200);
}

TEST_CASE("a refused gRPC call is told in gRPC's own words") {
  TestSessions gate;
  auto guest = gate.Open();
  const std::string message(5, '\0');
  const Fields call =
      Asking({{"content-type", "application/grpc+proto"}, {"te", "trailers"}}, "POST");
  SECTION("by the policy") {
    gate.Deny({.reason = Reason::kDeniedByRule,
               .status = 403,
               .detail = "not 100 %",
               .rule = "policy.lua:9",
               .how_to_allow = "allow it\nthus"});
    const auto& answer = gate.Await(*guest, guest->client.Ask(call, &message));
    CHECK(answer.status == 200);
    CHECK(answer.Field("content-type") == "application/grpc+proto");
    CHECK(answer.Field("grpc-status") == "7");
    CHECK(answer.Field("grpc-message") ==
          "not 100 %25 (urn:sallyport:denied_by_rule, status 403, rule policy.lua:9, flow 7) To "
          "allow it: allow it%0Athus");
    CHECK(answer.body.empty());
    CHECK(answer.ended);
    CHECK_FALSE(gate.audit.records.back().allowed);
  }
  SECTION("by a host that can't be reached") {
    gate.dialer.fail = Error(Code::kRefused, "nobody is there");
    const auto& answer = gate.Await(*guest, guest->client.Ask(call, &message));
    CHECK(answer.status == 200);
    CHECK(answer.Field("grpc-status") == "14");
  }
}

TEST_CASE("fields with credentials stay out of the compression table") {
  TestSessions gate([](Origin::Connection& connection) {
    while (!connection.ReadHead().empty()) {
      connection.Write(
          "HTTP/1.1 200 OK\r\nSet-Cookie: id=12345\r\nX-Other: again\r\nContent-Length: 0\r\n\r\n");
    }
  });
  auto guest = gate.Open();
  CHECK(gate.Await(*guest, guest->client.Get("/")).Field("set-cookie") == "id=12345");
  const size_t first = guest->client.wire.size();
  CHECK(gate.Await(*guest, guest->client.Get("/")).Field("x-other") == "again");
  // The second head points into the table for x-other, and spells set-cookie out: 0x1f 0x28 is
  // "never indexed, with the name of entry 55".
  const std::string second = guest->client.wire.substr(first);
  CHECK(Contains(guest->client.wire, "\x1f\x28"));
  CHECK(Contains(second, "\x1f\x28"));
  CHECK(second.size() < 50);
}

/// A guest whose TLS ends where GuestConnection's does; the session is the protocol's.
struct TlsGuest final : public Stream::Listener, public Session::Owner {
  TlsGuest(TestSessions& gate, const std::string& alpn, bool offer_h2)
      : authority(std::move(*Authority::Create())),
        tls(std::move(*GuestTls::Create(*authority))),
        flow(gate.gate, TestSessions::Flow()) {
    hello.name = flow.facts().name;
    hello.offer_h2 = offer_h2;
    flow.tls.encrypted = true;
    auto ends = MemoryStream::Make(*gate.loop, {});
    stream = tls->Accept(*gate.loop, std::move(ends.a), "", hello);
    client = std::make_unique<GuestClient>(
        std::move(ends.b),
        GuestClient::Options{.trusted = authority->trust_anchor().pem, .alpn = alpn});
    stream->SetListener(this);
    client->Pump();
  }
  void OnStreamReady() override {
    phase = stream->Handshake();
    if (phase != TlsStream::Phase::kOpen) return;
    flow.tls.alpn = AlpnOf(stream->ssl());
    if (flow.tls.alpn != "h2") return;
    session = std::make_unique<Session>(flow, *stream, "", *this);
    session->Run();
  }
  void OnSessionOver() override {
    session.reset();
    stream.reset();
  }

  std::unique_ptr<Authority> authority;
  std::unique_ptr<GuestTls> tls;
  FlowContext flow;
  GuestHello hello;
  TlsStream::Phase phase = TlsStream::Phase::kHandshake;
  std::unique_ptr<TlsStream> stream;
  std::unique_ptr<Session> session;
  std::unique_ptr<GuestClient> client;
};

TEST_CASE("ALPN chooses HTTP/2 where it is offered on both sides") {
  TestSessions gate;
  const std::string both = "\x08http/1.1\x02h2";
  const auto chosen = [&gate](const std::string& alpn, bool offer_h2) {
    TlsGuest guest(gate, alpn, offer_h2);
    gate.RunUntil([&] { return guest.phase != TlsStream::Phase::kHandshake; });
    return guest.phase == TlsStream::Phase::kOpen ? guest.flow.tls.alpn : guest.hello.refused;
  };
  CHECK(chosen(both, true) == "h2");
  CHECK(chosen(both, false) == "http/1.1");
  CHECK(chosen("\x08http/1.1", true) == "http/1.1");
  CHECK(chosen("\x02h2", true) == "h2");
  CHECK(chosen("", true).empty());
  CHECK(Contains(chosen("\x02h2", false), "(http/1.1)"));
  CHECK(Contains(chosen("\x02h3", true), "(h2, http/1.1)"));
}

TEST_CASE("HTTP/2 goes over TLS") {
  TestSessions gate;
  TlsGuest guest(gate, "\x02h2", true);
  guest.client->Send(Preface() + Head(1, Asking()));
  gate.RunUntil(
      [&] { return Contains(guest.client->received, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"); });
  guest.client->CloseWrite();
  gate.RunUntil([&] { return guest.session == nullptr; });
}

TEST_CASE("a guest may leave at any moment, and a session be destroyed at any moment") {
  const std::string body(100'000, 'x');
  for (const bool leave : {true, false}) {
    TestSessions gate;
    for (int turns = 0; turns < 30; ++turns) {
      auto guest = gate.Open({}, {.capacity = 64 * 1024, .cut = 900});
      guest->client.Get("/");
      guest->client.Ask(Asking({}, "POST"), &body);
      for (int i = 0; i < turns; ++i) {
        const auto tick = gate.loop->After(std::chrono::milliseconds(1), [] {});
        REQUIRE(gate.loop->RunOnce());
      }
      if (leave) {
        guest->client.Abort();
        gate.RunUntil([&] { return guest->session == nullptr; });
      }
      guest.reset();
      CHECK(gate.gate.streams == 0);
    }
  }
}

TEST_CASE("a guest's bytes may arrive in pieces of any size") {
  for (const size_t cut : {1u, 2u, 3u, 7u, 100u}) {
    TestSessions gate;
    auto guest = gate.Open({}, {.capacity = 64 * 1024, .cut = cut});
    const std::string body(3000, 'p');
    const int32_t id = guest->client.Ask(Asking({}, "POST"), &body);
    CHECK(gate.Await(*guest, id).body.ends_with(body));
    CHECK(gate.Await(*guest, guest->client.Get("/")).status == 200);
  }
}

}  // namespace
}  // namespace sallyport::mitm::http2
