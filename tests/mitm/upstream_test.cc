#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

// What becomes of requests when servers, certificates and networks are not as they should be.

namespace sallyport::mitm {
namespace {

TEST_CASE("a server whose certificate does not verify is told about, and sees no request byte") {
  struct Row {
    TestCertificate certificate;
    const char* reason;
  };
  const TestCertificate strangers = MakeTestCertificate({.name = "Strangers", .authority = true});
  Row rows[] = {
      {MakeTestCertificate({.name = "api.test", .dns = "api.test"}), "self signed certificate"},
      {MakeTestCertificate({.name = "api.test", .dns = "api.test", .issuer = &strangers}),
       "its issuer is 'CN=Strangers'"},
      {MakeTestCertificate({.name = "api.test",
                            .dns = "api.test",
                            .seconds_from = -7200,
                            .seconds_to = -3600,
                            .issuer = &Roots()}),
       "certificate has expired: on "},
      {MakeTestCertificate({.name = "api.test",
                            .dns = "api.test",
                            .seconds_from = 3600,
                            .seconds_to = 7200,
                            .issuer = &Roots()}),
       "certificate is not yet valid: it begins on "},
      {MakeTestCertificate({.name = "api.test", .dns = "www.test", .issuer = &Roots()}),
       "host name mismatch: the certificate is for www.test"},
      {MakeTestCertificate({.name = "api.test", .issuer = &Roots()}),
       "host name mismatch: the certificate is for no name"},
  };
  for (const Row& row : rows) {
    INFO(row.reason);
    TestGate gate(Echo, &row.certificate);
    auto guest = gate.Open();
    const std::string answer = gate.Ask(*guest, Get("/", "Authorization: Bearer x\r\n"));
    CHECK(StatusOf(answer) == 502);
    INFO(answer);
    CHECK(Contains(answer, "urn:sallyport:upstream_tls"));
    CHECK(Contains(answer, row.reason));
    CHECK(gate.origin.received() == 0);
    CHECK(gate.LastRecord().reason == Reason::kUpstreamTls);
    CHECK(gate.LastRecord().address == IpAddress::V4(127, 0, 0, 1));
    // The guest's own connection is as good as before.
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 502);
  }
}

TEST_CASE("a server that does not speak TLS is told about") {
  TestGate gate(
      [](Origin::Connection& connection) {
        connection.Read();
        connection.Write("HTTP/1.1 400 Bad Request\r\n\r\n");
      },
      nullptr);
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(Contains(answer, "does not speak TLS"));
}

TEST_CASE("a server that hangs up in the handshake is told about") {
  TestGate gate([](Origin::Connection&) {}, nullptr);
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(gate.LastRecord().reason == Reason::kUpstreamTls);
}

TEST_CASE("each failure to connect has its reason") {
  struct Row {
    Code code;
    Reason reason;
    int status;
  };
  const Row rows[] = {
      {Code::kAddressRefused, Reason::kAddressRefused, 403},
      {Code::kNotFound, Reason::kNameNotFound, 502},
      {Code::kRefused, Reason::kUpstreamRefused, 502},
      {Code::kUnreachable, Reason::kUpstreamUnreachable, 502},
      {Code::kTimeout, Reason::kUpstreamTimeout, 504},
      {Code::kSystem, Reason::kResolverFailed, 502},
  };
  TestGate gate;
  auto guest = gate.Open();
  for (const Row& row : rows) {
    gate.dialer.fail = Error(row.code, "what the dialler says");
    const std::string answer = gate.Ask(*guest, Get("/"));
    CHECK(StatusOf(answer) == row.status);
    CHECK(Contains(answer, "what the dialler says"));
    CHECK(gate.LastRecord().reason == row.reason);
  }
}

TEST_CASE("the flow's filter, its `to` and a request's `to` reach the dialler") {
  TestGate gate;
  HttpFlow flow = gate.Flow();
  policy::RuleOf(flow.verdict).resolves.prefixes.push_back(*Prefix::Parse("10.0.0.0/8"));
  SECTION("a name with its filter") {
    auto guest = gate.Open({}, flow);
    gate.Ask(*guest, Get("/"));
    const Destination& dialed = gate.dialer.dialed.at(0);
    CHECK(ToString(dialed.host) == "api.test");
    CHECK(dialed.port == 443);
    CHECK(dialed.filter.prefixes.size() == 1);
    CHECK_FALSE(dialed.chosen_by_user);
  }
  SECTION("`to`, while identity checks stay on the name") {
    policy::RuleOf(flow.verdict).rare.Edit().to = *ParseAuthority("127.0.0.1:9999");
    auto guest = gate.Open({}, flow);
    CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
    const Destination& dialed = gate.dialer.dialed.at(0);
    CHECK(ToString(dialed.host) == "127.0.0.1");
    CHECK(dialed.port == 9999);
    CHECK(dialed.chosen_by_user);
  }
  SECTION("a request's own `to`") {
    gate.engine.OnRequest([](const policy::Facts&, const policy::TlsFacts&, RequestHead& head) {
      policy::RequestVerdict verdict = policy::FakeEngine::Forward();
      if (head.path == "/there") verdict.to = *ParseAuthority("there.test");
      return verdict;
    });
    auto guest = gate.Open({}, flow);
    gate.Ask(*guest, Get("/"));
    gate.Ask(*guest, Get("/there"));
    gate.Ask(*guest, Get("/there"));
    REQUIRE(gate.dialer.dialed.size() == 2);
    CHECK(ToString(gate.dialer.dialed[1].host) == "there.test");
    CHECK(gate.dialer.dialed[1].port == 443);
  }
}

TEST_CASE("connections are reused across guests, but not across names") {
  const TestCertificate both =
      MakeTestCertificate({.name = "both", .dns = "*.hosts.test", .issuer = &Roots()});
  TestGate gate(Echo, &both);
  for (const std::string name :
       {"one.hosts.test", "two.hosts.test", "one.hosts.test", "two.hosts.test"}) {
    auto guest = gate.Open({.sni = name, .verify = name}, gate.Flow(name));
    CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n")) == 200);
  }
  CHECK(gate.origin.connections() == 2);
}

TEST_CASE("a new connection to a server resumes its TLS session, for the same name only") {
  const TestCertificate both =
      MakeTestCertificate({.name = "both", .dns = "*.hosts.test", .issuer = &Roots()});
  TestGate gate(
      [](Origin::Connection& connection) {
        connection.ReadHead();
        connection.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      },
      &both);
  const auto ask = [&](const std::string& name) {
    auto guest = gate.Open({.sni = name, .verify = name}, gate.Flow(name));
    CHECK(StatusOf(gate.Ask(*guest, "GET / HTTP/1.1\r\nHost: " + name + "\r\n\r\n")) == 200);
  };
  ask("one.hosts.test");
  ask("two.hosts.test");
  CHECK(gate.origin.resumed() == 0);
  ask("one.hosts.test");
  CHECK(gate.origin.resumed() == 1);
}

TEST_CASE("a request on a reused connection that the server has given up goes out once more") {
  std::atomic<int> served{0};
  TestGate gate([&](Origin::Connection& connection) {
    const int number = ++served;
    connection.ReadHead();
    connection.Answer("first");
    // The second request of the first connection is read and never answered.
    if (number == 1) {
      connection.ReadHead();
      return;
    }
    connection.ReadHead();
    connection.Answer("more");
  });
  auto guest = gate.Open();
  CHECK(gate.Ask(*guest, Get("/1")).ends_with("first"));
  SECTION("when nothing can come of it") {
    CHECK(gate.Ask(*guest, Get("/2")).ends_with("first"));
    CHECK(gate.origin.connections() == 2);
  }
  SECTION("but not when it may have been acted upon") {
    const std::string answer =
        gate.Ask(*guest, "POST /2 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1\r\n\r\nx");
    CHECK(StatusOf(answer) == 502);
    CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
    CHECK(gate.origin.connections() == 1);
  }
}

TEST_CASE("a fresh connection that dies is not tried again") {
  TestGate gate([](Origin::Connection& connection) { connection.ReadHead(); });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 502);
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a server that dies while answering breaks the guest's connection") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  });
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return guest->broken() || guest->ended(); });
  CHECK(guest->broken());
  CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
  CHECK(gate.LastRecord().status == 200);
  CHECK(gate.interceptor->connections() == 0);
}

TEST_CASE("an answer that is not HTTP is a bad gateway") {
  TestGate gate([](Origin::Connection& connection) {
    connection.ReadHead();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    connection.Read();
  });
  auto guest = gate.Open();
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 502);
  CHECK(gate.LastRecord().reason == Reason::kUpstreamProtocol);
}

TEST_CASE("a server that says more than it was asked is not asked again on that connection") {
  TestGate gate([](Origin::Connection& connection) {
    for (;;) {
      if (connection.ReadHead().empty()) return;
      connection.Write(
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
          "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    }
  });
  auto guest = gate.Open();
  for (int i = 0; i < 3; ++i) CHECK(gate.Ask(*guest, Get("/")).ends_with("ok"));
  CHECK(gate.origin.connections() == 3);
}

TEST_CASE("a guest that leaves while the server is being dialled ends the attempt") {
  TestGate gate;
  auto guest = gate.Open();
  guest->Pump();
  gate.RunUntil([&] { return guest->up(); });
  guest->Send(Get("/"));
  gate.RunUntil([&] { return !gate.dialer.dialed.empty(); });
  guest->Abort();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK(gate.audit.records.size() == 1);
  CHECK(gate.origin.received() == 0);
}

}  // namespace
}  // namespace sallyport::mitm
