#include "mitm/exchange.h"

#include <catch2/catch.hpp>
#include <string>

#include "mitm/limits.h"
#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

using Head = RequestHead;
using policy::FakeEngine;

TEST_CASE("a request goes to the origin and its answer comes back") {
  TestGate gate;
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/a?b=c", "X-Test: 1\r\n"));
  CHECK(StatusOf(answer) == 200);
  CHECK(Contains(answer, "GET /a?b=c HTTP/1.1\r\nHost: api.test\r\nX-Test: 1\r\n\r\n"));
  REQUIRE(gate.audit.records.size() == 1);
  const AuditRecord& record = gate.LastRecord();
  CHECK(record.flow == 7);
  CHECK(record.transport == "https");
  CHECK(record.name == "api.test");
  CHECK(record.address == IpAddress::V4(127, 0, 0, 1));
  CHECK(record.port == 443);
  CHECK(record.method == "GET");
  CHECK(record.path == "/a");
  CHECK(record.status == 200);
  CHECK(record.rule == "policy.lua:1");
  CHECK(record.allowed);
  CHECK(record.reason == Reason::kAllowed);
  CHECK(record.bytes_down > 0);
}

TEST_CASE("plain HTTP goes the same way") {
  TestGate gate(Echo, nullptr);
  auto guest = gate.OpenPlain();
  CHECK(Contains(gate.Ask(*guest, Get("/")), "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  CHECK(gate.LastRecord().transport == "http");
}

TEST_CASE("a hundred requests share one connection on both sides") {
  TestGate gate;
  auto guest = gate.Open();
  for (int i = 0; i < 100; ++i) {
    const std::string path = "/" + std::to_string(i);
    CHECK(Contains(gate.Ask(*guest, Get(path)), "GET " + path + " HTTP"));
  }
  CHECK(gate.origin.connections() == 1);
  CHECK(gate.audit.records.size() == 100);
  CHECK(gate.engine.asked == 100);
}

TEST_CASE("pipelined requests are decided one by one and answered in order") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, Head& head) {
    if (head.path == "/1") {
      return FakeEngine::Deny({.reason = Reason::kDeniedByRule,
                               .status = 403,
                               .detail = "not this",
                               .rule = "policy.lua:9",
                               .how_to_allow = {}});
    }
    return FakeEngine::Forward();
  });
  auto guest = gate.Open();
  guest->Send(Get("/0") + Get("/1") + Get("/2"));
  CHECK(Contains(gate.TakeAnswer(*guest), "GET /0 "));
  const std::string denied = gate.TakeAnswer(*guest);
  CHECK(StatusOf(denied) == 403);
  CHECK(Contains(denied, "\"rule\": \"policy.lua:9\""));
  CHECK(Contains(gate.TakeAnswer(*guest), "GET /2 "));
  CHECK(gate.engine.asked == 3);
}

TEST_CASE("bodies of a megabyte go up in either framing") {
  TestGate gate;
  const std::string body(1024 * 1024, 'u');
  auto guest = gate.Open();
  SECTION("with a length") {
    const std::string answer =
        gate.Ask(*guest, "POST /l HTTP/1.1\r\nHost: api.test\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(Contains(answer, "Content-Length: 1048576\r\n"));
    CHECK(answer.ends_with(body));
  }
  SECTION("chunked") {
    std::string request =
        "POST /c HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 1024; ++i) request += "400\r\n" + body.substr(0, 1024) + "\r\n";
    const std::string answer = gate.Ask(*guest, request + "0\r\n\r\n");
    CHECK(Contains(answer, "Transfer-Encoding: chunked\r\n"));
    CHECK(answer.ends_with(body));
  }
  CHECK(gate.LastRecord().bytes_up >= body.size());
  CHECK(gate.LastRecord().bytes_down >= body.size());
  CHECK(StatusOf(gate.Ask(*guest, Get("/after"))) == 200);
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("an answer of any framing reaches the guest whole") {
  const std::string body(300'000, 'd');
  std::string framing;
  TestGate gate([&](Origin::Connection& connection) {
    if (connection.ReadHead().empty()) return;
    if (framing == "length") return connection.Answer(body);
    connection.Write("HTTP/1.1 200 OK\r\n");
    if (framing == "close") return connection.Write("\r\n" + body);
    connection.Write("Transfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < body.size(); i += 1000) {
      connection.Write("3E8\r\n" + body.substr(i, 1000) + "\r\n");
    }
    connection.Write("0\r\nX-Trailer: t\r\n\r\n");
  });
  auto guest = gate.Open();
  const auto decoded = [](const std::string& answer) {
    std::string text = answer.substr(answer.find("\r\n\r\n") + 4);
    std::string plain;
    for (size_t at = 0;;) {
      const size_t size = std::strtoul(text.c_str() + at, nullptr, 16);
      at = text.find("\r\n", at) + 2;
      if (size == 0) return plain;
      plain += text.substr(at, size);
      at += size + 2;
    }
  };
  SECTION("length") {
    framing = "length";
    CHECK(gate.Ask(*guest, Get("/")).ends_with(body));
  }
  SECTION("until the connection ends") {
    framing = "close";
    CHECK(decoded(gate.Ask(*guest, Get("/"))) == body);
  }
  SECTION("chunked, with a trailer") {
    framing = "chunked";
    guest->Send(Get("/"));
    gate.RunUntil([&] { return guest->received.ends_with("0\r\nX-Trailer: t\r\n\r\n"); });
    CHECK(decoded(guest->received) == body);
  }
}

TEST_CASE("a body that is cut off without TLS saying so is not passed off as complete") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\n\r\nhalf");
    connection.Cut();
  });
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return guest->broken() || guest->ended(); });
  CHECK(guest->broken());
  CHECK_FALSE(Contains(guest->received, "\r\n0\r\n"));
  CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
}

TEST_CASE("HEAD, 204 and 304 have no body, and the connection goes on") {
  TestGate gate(Bodiless);
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, "HEAD / HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                 "Content-Length: 1234\r\n"));
  CHECK(StatusOf(gate.Ask(*guest, Get("/204"))) == 204);
  CHECK(Contains(gate.Ask(*guest, Get("/304")), "ETag: x\r\n"));
  CHECK(gate.Ask(*guest, Get("/")).ends_with("last"));
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a client of HTTP/1.0 gets no chunks, and an end") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
  });
  auto guest = gate.Open();
  guest->Send("GET / HTTP/1.0\r\nHost: api.test\r\n\r\n");
  gate.RunUntil([&] { return guest->ended() || guest->broken(); });
  CHECK(guest->ended());
  CHECK(guest->received == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef");
}

TEST_CASE("a client that asks to close is told, and the connection ends") {
  TestGate gate;
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, Get("/", "Connection: close\r\n")), "Connection: close\r\n"));
  gate.RunUntil([&] { return guest->ended(); });
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
}

TEST_CASE("100 Continue is said once the origin is there, and the origin is not asked for it") {
  TestGate gate;
  auto guest = gate.Open();
  guest->Send(
      "PUT / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  gate.RunUntil([&] { return guest->received == "HTTP/1.1 100 Continue\r\n\r\n"; });
  guest->received.clear();
  const std::string answer = gate.Ask(*guest, "body");
  CHECK(StatusOf(answer) == 200);
  CHECK_FALSE(Contains(answer, "Expect"));
  CHECK(answer.ends_with("body"));
}

TEST_CASE("a denied request that expects 100 Continue is answered without it") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, Head&) {
    return FakeEngine::Deny({.reason = Reason::kNotGranted,
                             .status = 403,
                             .detail = "no",
                             .rule = {},
                             .how_to_allow = "allow.http { host = \"api.test\" }"});
  });
  auto guest = gate.Open();
  const std::string answer = gate.Ask(
      *guest,
      "PUT / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "Connection: close\r\n"));
  CHECK(Contains(answer, "application/problem+json"));
  CHECK(Contains(answer, "\"type\": \"urn:sallyport:not_granted\""));
  CHECK(Contains(answer, "\"how_to_allow\": \"allow.http { host = \\\"api.test\\\" }\""));
  CHECK(gate.origin.connections() == 0);
  CHECK_FALSE(gate.LastRecord().allowed);
}

TEST_CASE("early hints are relayed, a server's own 100 is not") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    connection.Answer("x");
  });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 103);
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 200);
}

TEST_CASE("endless interim answers end in a refusal") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    for (int i = 0; i < 100; ++i) connection.Write("HTTP/1.1 100 Continue\r\n\r\n");
    connection.Read();
  });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 502);
}

TEST_CASE("Alt-Svc is not told to the guest") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write(
        "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nA: b\r\nContent-Length: 0\r\n\r\n");
  });
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(Contains(answer, "A: b"));
  CHECK_FALSE(Contains(answer, "Alt-Svc"));
}

TEST_CASE("an answer that comes before a large request is complete is relayed, then all ends") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    while (!connection.Read().empty()) {
    }
  });
  auto guest = gate.Open();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100000000\r\n\r\n");
  guest->Send(std::string(200'000, 'x'));
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 413);
  CHECK(Contains(answer, "Connection: close\r\n"));
  gate.RunUntil([&] { return guest->ended(); });
  guest->Send(std::string(100'000, 'x'));  // A client that is still busy sending sees no reset.
  guest->CloseWrite();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
}

TEST_CASE("what a guest sends after its answer is drained up to a bound") {
  TestGate gate;
  gate.engine.OnRequest(
      [](const policy::Facts&, const policy::TlsFacts&, Head&) { return FakeEngine::Deny({}); });
  auto guest = gate.OpenPlain();
  guest->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100000000\r\n\r\n");
  guest->Send(std::string(kDrainBytes + 200'000, 'x'));
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(StatusOf(guest->received) == 403);
}

TEST_CASE("the policy's refusal, error or hook is what the guest is told") {
  TestGate gate;
  policy::RequestVerdict verdict;
  gate.engine.OnRequest(
      [&](const policy::Facts&, const policy::TlsFacts&, Head&) { return verdict; });
  auto guest = gate.Open();
  SECTION("a refusal with a status of its own") {
    verdict = FakeEngine::Deny({.reason = Reason::kDeniedByHook,
                                .status = 451,
                                .detail = "law",
                                .rule = {},
                                .how_to_allow = {}});
    const std::string answer = gate.Ask(*guest, Get("/"));
    CHECK(StatusOf(answer) == 451);
    CHECK(Contains(answer, "Cache-Control: no-store\r\n"));
    CHECK(Contains(answer, "\"flow\": 7"));
  }
  SECTION("an answer made by a hook") {
    verdict.action = policy::RequestVerdict::Action::kRespond;
    verdict.response.status = 200;
    verdict.response.headers.Add("X-Hook", "yes");
    verdict.response_body = std::string(500'000, 'h');
    const std::string answer = gate.Ask(*guest, Get("/"));
    CHECK(Contains(answer, "X-Hook: yes\r\n"));
    CHECK(answer.ends_with(verdict.response_body));
    CHECK(gate.LastRecord().allowed);
  }
  SECTION("an answer by a hook that would split the response") {
    verdict.action = policy::RequestVerdict::Action::kRespond;
    verdict.response.status = 200;
    verdict.response.headers.Add("X-Hook", "yes\r\nSet-Cookie: x");
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 500);
    CHECK(gate.LastRecord().reason == Reason::kPolicyError);
  }
  SECTION("a refusal to HEAD has no body") {
    verdict = FakeEngine::Deny({});
    guest->Send("HEAD / HTTP/1.1\r\nHost: api.test\r\n\r\n" + Get("/"));
    CHECK(StatusOf(gate.TakeAnswer(*guest, true)) == 403);
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 403);
  }
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a hook that breaks the request is an error, not a request") {
  TestGate gate;
  const std::function<void(Head&)> breakers[] = {
      [](Head& head) { head.headers.Add("A", "b\r\nC: d"); },
      [](Head& head) { head.headers.Add("A b", "c"); },
      [](Head& head) { head.headers.Add("Transfer-Encoding", "chunked"); },
      [](Head& head) { head.headers.Add("Content-Length", "3"); },
      [](Head& head) { head.headers.Add("Content_Length", "3"); },
      [](Head& head) { head.headers.Add("transfer_encoding", "chunked"); },
      [](Head& head) { head.headers.Add("Host", "evil.test"); },
      [](Head& head) { head.headers.Add("Connection", "close"); },
      [](Head& head) { head.method = "GET / HTTP/1.1\r\nA: b\r\n\r\nGET"; },
      [](Head& head) { head.method = "HEAD"; },
      [](Head& head) { head.path = "/ HTTP/1.1\r\n\r\n"; },
      [](Head& head) { head.path = "no-slash"; },
      [](Head& head) { head.path = "/a?b"; },
      [](Head& head) { head.query = "a b"; },
  };
  auto guest = gate.Open();
  for (const auto& breaker : breakers) {
    gate.engine.OnRequest([&](const policy::Facts&, const policy::TlsFacts&, Head& head) {
      breaker(head);
      return FakeEngine::Forward();
    });
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 403);
    CHECK(gate.LastRecord().reason == Reason::kPolicyError);
  }
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a hook's change of the head is what goes upstream") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts& tls, Head& head) {
    CHECK(tls.encrypted);
    CHECK(tls.sni == "api.test");
    CHECK(tls.alpn == "http/1.1");
    CHECK(tls.version == "TLSv1.3");
    head.path = "/changed";
    head.query = "q";
    head.headers.Set("X-Agent", "yes");
    head.authority = "evil.test";
    return FakeEngine::Forward();
  });
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, Get("/")),
                 "GET /changed?q HTTP/1.1\r\nHost: api.test\r\nX-Agent: yes\r\n\r\n"));
}

TEST_CASE("a request for another host than the connection's is misdirected") {
  TestGate gate;
  auto guest = gate.Open();
  for (const std::string host :
       {"evil.test", "api.test:80", "api.test.evil.test", "203.0.113.5", "api.test@evil.test",
        "xapi.test", "", "api.test:", "api.test:0"}) {
    INFO(host);
    const std::string answer = gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    CHECK(StatusOf(answer) == 421);
    CHECK(gate.LastRecord().reason == Reason::kHostMismatch);
  }
  for (const std::string host : {"API.test", "api.test.", "api.test:443"}) {
    CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")) == 200);
  }
  CHECK(gate.engine.asked == 3);
}

TEST_CASE("a port other than the scheme's own is part of the authority") {
  TestGate gate;
  auto guest = gate.Open({}, gate.Flow("api.test", 8443));
  CHECK(Contains(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: api.test:8443\r\n\r\n"),
                 "Host: api.test:8443\r\n"));
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 421);
}

TEST_CASE("TRACE, TRACK and CONNECT are refused") {
  TestGate gate;
  auto guest = gate.Open();
  for (const char* method : {"TRACE", "TRACK"}) {
    const std::string request = std::string(method) + " / HTTP/1.1\r\nHost: api.test\r\n\r\n";
    CHECK(StatusOf(gate.Ask(*guest, request)) == 501);
  }
  CHECK(StatusOf(gate.Ask(*guest, "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n")) ==
        501);
  CHECK(gate.engine.asked == 0);
}

TEST_CASE("a request that breaks HTTP is answered, and ends the connection") {
  TestGate gate;
  auto guest = gate.Open();
  guest->Send(
      "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\n" +
      Get("/smuggled"));
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 400);
  CHECK(Contains(answer, "Connection: close\r\n"));
  gate.RunUntil([&] { return guest->ended(); });
  CHECK(guest->received.empty());
  CHECK(gate.engine.asked == 0);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().reason == Reason::kBadRequest);
}

TEST_CASE("a body that breaks its chunks is never completed upstream") {
  std::string body = "unset";
  TestGate gate([&](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    for (std::string more = connection.Read(); !more.empty(); more = connection.Read())
      body += more;
  });
  auto guest = gate.Open();
  guest->Send(
      "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n");
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 400);
  CHECK(gate.LastRecord().reason == Reason::kBadRequest);
  CHECK_FALSE(Contains(body, "0\r\n\r\n"));
}

TEST_CASE("a flow with a refusal answers every request with it") {
  TestGate gate;
  HttpFlow flow = gate.Flow("unlisted.test");
  flow.verdict = {};
  flow.refusal = Refusal{.reason = Reason::kNameNotGranted,
                         .status = 403,
                         .detail = "no rule names unlisted.test",
                         .rule = {},
                         .how_to_allow = "allow.http { host = \"unlisted.test\" }"};
  auto guest = gate.Open({.sni = "unlisted.test", .verify = "unlisted.test"}, flow);
  for (int i = 0; i < 3; ++i) {
    const std::string answer = gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: unlisted.test\r\n\r\n");
    CHECK(StatusOf(answer) == 403);
    CHECK(Contains(answer, "urn:sallyport:name_not_granted"));
  }
  CHECK(gate.engine.asked == 0);
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("without an audit log nothing is allowed") {
  TestGate gate;
  gate.audit.is_healthy = false;
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 503);
  CHECK(gate.LastRecord().reason == Reason::kAuditUnavailable);
}

TEST_CASE("a flow without a grant denies") {
  TestGate gate;
  HttpFlow flow = gate.Flow();
  flow.verdict.http = nullptr;
  auto guest = gate.Open({}, flow);
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 403);
  CHECK(gate.LastRecord().reason == Reason::kPolicyError);
}

TEST_CASE("a slow guest stops the origin, and gets everything in the end") {
  const std::string body(4'000'000, 's');
  TestGate gate([&](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Answer(body);
  });
  auto guest = gate.Open();
  guest->Pump();
  gate.RunUntil([&] { return guest->up(); });
  guest->reading = false;
  guest->Send(Get("/"));
  // Long enough for the gate to have taken all it is going to take.
  for (int i = 0; i < 50; ++i) {
    const auto tick = gate.loop->After(std::chrono::milliseconds(1), [] {});
    REQUIRE(gate.loop->RunOnce());
  }
  CHECK(gate.audit.records.empty());
  guest->reading = true;
  guest->Pump();
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(answer.size() > body.size());
}

}  // namespace
}  // namespace sallyport::mitm
