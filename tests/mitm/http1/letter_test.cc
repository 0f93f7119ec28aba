// Points of RFC 9110 and 9112 about connections and messages that no other test is about.

#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

using policy::FakeEngine;

TEST_CASE("a client that has finished sending still gets its answers") {
  const bool tls = GENERATE(true, false);
  TestGate gate(
      [](Origin::Connection& connection) {
        for (std::string head = connection.ReadHead(); !head.empty();
             head = connection.ReadHead()) {
          connection.Write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
          connection.Answer(head.substr(0, 6) + std::string(200'000, 'x'));
        }
      },
      tls ? &ApiCertificate() : nullptr);
  auto guest = tls ? gate.Open() : gate.OpenPlain();
  guest->Send(Get("/1") + Get("/2"));
  gate.RunUntil([&] { return guest->up(); });
  guest->CloseWrite();
  gate.RunUntil([&] { return guest->ended() || guest->broken(); });
  CHECK(guest->ended());
  CHECK(StatusOf(guest->received) == 103);
  CHECK(Contains(guest->received, "GET /1xxx"));
  CHECK(guest->received.ends_with("xxx"));
  CHECK(Contains(guest->received, "GET /2xxx"));
}

TEST_CASE("a client that goes away in the middle of its body leaves no complete request") {
  std::string body = "unset";
  bool ended = false;
  {
    TestGate gate([&](Origin::Connection& connection) {
      connection.ReadHead();
      body.clear();
      connection.Write("HTTP/1.1 103 Early Hints\r\n\r\n");
      for (std::string more = connection.Read(); !more.empty(); more = connection.Read())
        body += more;
      ended = true;
    });
    auto guest = gate.Open();
    guest->Send(
        "PUT / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    gate.RunUntil([&] { return StatusOf(guest->received) == 103; });
    guest->CloseWrite();
    gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
    CHECK(gate.LastRecord().detail == "the client left before the answer was complete");
  }
  CHECK(ended);
  CHECK_FALSE(Contains(body, "0\r\n\r\n"));
}

TEST_CASE("an origin of HTTP/1.0 is understood, with and without a length") {
  std::string answer;
  TestGate gate([&](Origin::Connection& connection) {
    for (std::string head = connection.ReadHead(); !head.empty(); head = connection.ReadHead()) {
      connection.Write(answer);
      if (!Contains(answer, "keep-alive")) return;
    }
  });
  auto guest = gate.Open();
  SECTION("until the end of the connection") {
    answer = "HTTP/1.0 200 OK\r\n\r\nhello";
    const std::string got = gate.Ask(*guest, Get("/"));
    CHECK(got.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(got.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  }
  SECTION("with a length") {
    answer = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for (int i = 1; i <= 2; ++i) {
      CHECK(gate.Ask(*guest, Get("/")).ends_with("\r\n\r\nhello"));
      CHECK(gate.origin.connections() == i);
    }
  }
  SECTION("with a length and keep-alive") {
    answer = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello";
    for (int i = 1; i <= 2; ++i) CHECK(gate.Ask(*guest, Get("/")).ends_with("\r\n\r\nhello"));
    CHECK(gate.origin.connections() == 1);
  }
  SECTION("chunked, which it can't be") {
    answer = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 502);
  }
}

TEST_CASE("an answer to OPTIONS * and a field that overrides the method are the policy's to see") {
  TestGate gate;
  std::string seen;
  gate.engine.OnRequest([&](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    const std::string* other = head.headers.Find("x-http-method-override");
    seen = head.method + " " + head.path + (other ? " as " + *other : "");
    return other ? FakeEngine::Deny({}) : FakeEngine::Forward();
  });
  auto guest = gate.Open();
  CHECK(Contains(gate.Ask(*guest, "OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n"),
                 "OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  CHECK(seen == "OPTIONS *");
  const std::string denied =
      "POST /p HTTP/1.1\r\nHost: api.test\r\nX-HTTP-Method-Override: DELETE\r\n\r\n";
  CHECK(StatusOf(gate.Ask(*guest, denied)) == 403);
  CHECK(seen == "POST /p as DELETE");
}

TEST_CASE("HTTP/1.0 is told nothing by interim answers, and does not wait for one") {
  TestGate gate([](Origin::Connection& connection) {
    const std::string head = connection.ReadHead();
    connection.Write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    connection.Answer(connection.ReadBody(head));
  });
  auto guest = gate.Open();
  guest->Send(
      "PUT / HTTP/1.0\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
  gate.RunUntil([&] { return guest->ended() || guest->broken(); });
  CHECK(guest->received == "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
}

TEST_CASE("requests behind a refused one are still decided one by one") {
  TestGate gate;
  gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
    return head.method == "POST" ? FakeEngine::Deny({}) : FakeEngine::Forward();
  });
  auto guest = gate.Open();
  const std::string post = "POST /p HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\n\r\n";
  SECTION("a body that was not read ends the connection: what follows is nobody's request") {
    guest->Send(post + "abcd" + Get("/next"));
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 403);
    gate.RunUntil([&] { return guest->ended(); });
    CHECK(guest->received.empty());
    CHECK(gate.engine.asked == 1);
  }
  SECTION("without a body it goes on") {
    guest->Send("POST /p HTTP/1.1\r\nHost: api.test\r\n\r\n" + Get("/next"));
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 403);
    CHECK(StatusOf(gate.TakeAnswer(*guest)) == 200);
    CHECK(gate.engine.asked == 2);
  }
}

}  // namespace
}  // namespace sallyport::mitm
