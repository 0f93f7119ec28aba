#include "mitm/proxy_port.h"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "mitm/limits.h"
#include "policy/budget_book.h"
#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

/// Answers each question by a function, from the loop, and remembers it.
class ScriptedDecider final : public ProxyDecider {
 public:
  using Answer = std::function<ProxyVerdict(const ProxyQuestion&)>;

  ScriptedDecider(Loop& loop, Answer answer) : loop_(loop), answer_(std::move(answer)) {}

  Pending Decide(const ProxyQuestion& question, std::function<void(ProxyVerdict)> done) override {
    const bool tunnel = question.form == ProxyQuestion::Form::kTunnel;
    asked.push_back((tunnel ? "tunnel " : "request ") + ToString(question.host) + ":" +
                    std::to_string(question.port));
    if (silent) return Pending([this] { ++cancelled; });
    posted_ = loop_.Post([this, question, call = std::move(done)] { call(answer_(question)); });
    return Pending([this] { posted_ = {}; });
  }

  std::vector<std::string> asked;
  bool silent = false;
  int cancelled = 0;

 private:
  Loop& loop_;
  const Answer answer_;
  Loop::Handle posted_;
};

/// A proxy port over a whole gate. Unless a test says otherwise, every host is granted as HTTP.
struct ProxyGate : TestGate {
  using TestGate::TestGate;

  HttpFlow Granted(const ProxyQuestion& question) {
    HttpFlow flow = Flow("", question.port);
    flow.facts.flow = question.flow;
    if (const auto* name = std::get_if<HostName>(&question.host)) flow.facts.name = *name;
    return flow;
  }

  /// The client's end of a new connection to the port.
  std::unique_ptr<Stream> Connect(MemoryStream::Options wire = {}) {
    auto ends = MemoryStream::Make(*loop, wire);
    port.Serve(std::move(ends.a), 9, {}, {IpAddress::V4(10, 0, 2, 2), 3128});
    return std::move(ends.b);
  }
  std::unique_ptr<GuestClient> OpenClient(MemoryStream::Options wire = {}) {
    return std::make_unique<GuestClient>(Connect(wire), GuestClient::Options{.tls = false});
  }
  /// Sends REQUEST as it is and returns the answer.
  std::string AskOnce(const std::string& request, MemoryStream::Options wire = {}) {
    auto client = OpenClient(wire);
    return Ask(*client, request);
  }
  /// A stream behind a tunnel to TARGET, or a failed test.
  std::unique_ptr<Stream> Tunnel(const std::string& target) {
    auto stream = Connect();
    const std::string head = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n";
    REQUIRE(stream->Write(head) == head.size());
    const std::string expected = "HTTP/1.1 200 Connection Established\r\n\r\n";
    std::string got;
    RunUntil([&] {
      std::array<uint8_t, 1> byte;
      while (got.size() < expected.size() && stream->Read(byte).kind == ReadResult::Kind::kBytes) {
        got += static_cast<char>(byte[0]);
      }
      return got.size() == expected.size();
    });
    CHECK(got == expected);
    return stream;
  }

  ScriptedDecider::Answer answer = [this](const ProxyQuestion& question) -> ProxyVerdict {
    return Granted(question);
  };
  ScriptedDecider decider{*loop, [this](const ProxyQuestion& q) { return answer(q); }};
  ProxyPort port{{*loop, *interceptor, decider, audit}};
};

Refusal NotGranted() {
  return {.reason = Reason::kNameNotGranted,
          .status = 403,
          .detail = "no rule grants it",
          .rule = {},
          .how_to_allow = "allow.http { }"};
}

std::string Connect(const std::string& target, const std::string& fields) {
  return "CONNECT " + target + " HTTP/1.1\r\n" + fields + "\r\n";
}

TEST_CASE("a tunnel to port 443 ends in the same interception as a plain connection") {
  ProxyGate gate;
  GuestClient client(gate.Tunnel("API.test:443"),
                     {.trusted = gate.interceptor->trust_anchor().pem});
  CHECK(Contains(gate.Ask(client, Get("/a")), "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  CHECK(Contains(gate.Ask(client, Get("/b")), "GET /b HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  CHECK(gate.decider.asked == std::vector<std::string>{"tunnel api.test:443"});
  REQUIRE(gate.audit.records.size() == 2);
  CHECK(gate.LastRecord().transport == "https");
  CHECK(gate.LastRecord().name == "api.test");
  CHECK(gate.LastRecord().flow == 9);
  CHECK(gate.port.connections() == 0);
}

TEST_CASE("a server name other than the tunnel's is misdirected") {
  ProxyGate gate;
  GuestClient client(gate.Tunnel("api.test:443"),
                     {.sni = "other.test",
                      .verify = "other.test",
                      .trusted = gate.interceptor->trust_anchor().pem});
  CHECK(StatusOf(gate.Ask(client, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")) == 421);
  CHECK(StatusOf(gate.Ask(client, Get("/"))) == 421);
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a tunnel may carry plain HTTP, for the tunnel's host only") {
  ProxyGate gate(Echo, nullptr);
  GuestClient client(gate.Tunnel("api.test:80"), {.tls = false});
  CHECK(Contains(gate.Ask(client, Get("/a")), "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n"));
  CHECK(StatusOf(gate.Ask(client, "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")) == 421);
}

TEST_CASE("a tunnel's client may send before it is told that there is one") {
  ProxyGate gate(Echo, nullptr);
  auto client = gate.OpenClient({.cut = GENERATE(SIZE_MAX, size_t{1}, size_t{7})});
  client->Send(Connect("api.test:80", "Host: api.test:80\r\n") + Get("/early"));
  gate.RunUntil([&] { return Contains(client->received, "GET /early"); });
  CHECK(client->received.starts_with("HTTP/1.1 200 Connection Established\r\n\r\nHTTP/1.1 200"));
}

TEST_CASE("an absolute target is served for its host, and then the connection ends") {
  ProxyGate gate(Echo, nullptr);
  auto client = gate.OpenClient({.cut = GENERATE(SIZE_MAX, size_t{1}, size_t{5})});
  client->Send(
      "POST http://API.test/p?q HTTP/1.1\r\nHost: api.test\r\nProxy-Connection: keep-alive\r\n"
      "Proxy-Authorization: Basic YTpi\r\nX-Test: 1\r\nContent-Length: 4\r\n\r\nbody"
      "GET http://api.test/second HTTP/1.1\r\nHost: api.test\r\n\r\n");
  const std::string answer = gate.TakeAnswer(*client);
  CHECK(Contains(answer, "Connection: close\r\n"));
  CHECK(answer.ends_with(
      "POST /p?q HTTP/1.1\r\nHost: api.test\r\nX-Test: 1\r\nContent-Length: 4\r\n\r\nbody"));
  gate.RunUntil([&] { return client->ended(); });
  CHECK(client->received.empty());
  CHECK(gate.decider.asked == std::vector<std::string>{"request api.test:80"});
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().transport == "http");
  CHECK(gate.LastRecord().path == "/p");
}

TEST_CASE("HTTP/1.0 needs no Host field, as the target names the host") {
  ProxyGate gate(Echo, nullptr);
  auto client = gate.OpenClient();
  SECTION("a request") {
    client->Send("GET http://api.test:8080/ HTTP/1.0\r\n\r\n");
    gate.RunUntil([&] { return client->ended(); });
    CHECK(Contains(client->received, "GET / HTTP/1.1\r\nHost: api.test:8080\r\n\r\n"));
  }
  SECTION("a tunnel") {
    client->Send("CONNECT api.test:80 HTTP/1.0\r\n\r\n");
    gate.RunUntil([&] { return client->received.ends_with("\r\n\r\n"); });
    CHECK(StatusOf(client->received) == 200);
  }
}

TEST_CASE("a refusal is the answer to the CONNECT itself, and ends the connection") {
  ProxyGate gate;
  gate.answer = [&gate](const ProxyQuestion& question) -> ProxyVerdict {
    HttpFlow flow = gate.Granted(question);
    flow.verdict = {};
    flow.refusal = NotGranted();
    return flow;
  };
  auto client = gate.OpenClient();
  SECTION("of a tunnel") {
    client->Send(Connect("evil.test:443", "Host: evil.test:443\r\n") + "\x16\x03\x01");
  }
  SECTION("of a tunnel in HTTP/1.0") {
    client->Send("CONNECT evil.test:443 HTTP/1.0\r\n\r\n");
  }
  SECTION("of a request") {
    client->Send("GET http://evil.test:443/ HTTP/1.1\r\nHost: evil.test:443\r\n\r\n");
  }
  const std::string answer = gate.TakeAnswer(*client);
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "application/problem+json"));
  CHECK(Contains(answer, "urn:sallyport:name_not_granted"));
  CHECK(Contains(answer, "\"how_to_allow\": \"allow.http { }\""));
  CHECK(Contains(answer, "Connection: close\r\n"));
  gate.RunUntil([&] { return client->ended(); });
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().name == "evil.test");
  CHECK(gate.LastRecord().port == 443);
  CHECK(gate.LastRecord().status == 403);
  CHECK(gate.dialer.dialed.empty());
}

TEST_CASE("what is no request to a proxy is answered with 400 and decided by nobody") {
  const std::pair<const char*, std::string> rows[] = {
      {"a path", Get("/")},
      {"a star", "OPTIONS * HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"https without a tunnel", "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"another scheme", "GET ftp://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"a user", "GET http://me@api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"no host", "GET http:///a HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"port 0", "GET http://api.test:0/ HTTP/1.1\r\nHost: api.test\r\n\r\n"},
      {"no port", Connect("api.test", "Host: api.test\r\n")},
      {"an empty port", Connect("api.test:", "Host: api.test\r\n")},
      {"port 0 of a tunnel", Connect("api.test:0", "Host: api.test\r\n")},
      {"port 65536", Connect("api.test:65536", "Host: api.test\r\n")},
      {"a tunnel by path", Connect("/", "Host: api.test\r\n")},
      {"a tunnel by URL", Connect("http://api.test:443/", "Host: api.test\r\n")},
      {"a tunnel with a user", Connect("a@api.test:443", "Host: api.test:443\r\n")},
      {"another Host", Connect("api.test:443", "Host: evil.test:443\r\n")},
      {"another Host's port", Connect("api.test:443", "Host: api.test:80\r\n")},
      {"two Hosts", Connect("api.test:443", "Host: api.test:443\r\nHost: api.test:443\r\n")},
      {"no Host", Connect("api.test:443", "")},
      {"a tunnel with a body", Connect("api.test:443", "Host: api.test\r\nContent-Length: 4\r\n")},
      {"a chunked tunnel",
       Connect("api.test:443", "Host: api.test\r\nTransfer-Encoding: chunked\r\n")},
      {"a bare LF", "CONNECT api.test:443 HTTP/1.1\nHost: api.test:443\n\n"},
      {"a folded field", Connect("api.test:443", "Host: api.test:443\r\nA: b\r\n c\r\n")},
      {"a NUL", Connect("api.test:443", std::string("Host: api.test:443\r\nA: \0\r\n", 27))},
      {"half a head", "CONNECT api.test:443 HTTP/1.1\r\nHos"},
  };
  for (const auto& [what, bytes] : rows) {
    INFO(what);
    ProxyGate gate;
    auto client = gate.OpenClient();
    client->Send(bytes);
    if (!bytes.ends_with("\n")) client->CloseWrite();
    gate.RunUntil([&] { return client->ended() || client->broken(); });
    const std::string answer = client->received;
    if (what == std::string("half a head")) {
      CHECK(answer.empty());  // As on any connection: nobody waits for an answer.
    } else {
      CHECK(StatusOf(answer) == 400);
      CHECK(gate.LastRecord().reason == Reason::kBadRequest);
      REQUIRE(gate.audit.records.size() == 1);
    }
    CHECK(gate.decider.asked.empty());
    CHECK(gate.port.connections() == 0);
  }
}

TEST_CASE("a target whose host is not the Host field's is refused with nothing forwarded") {
  ProxyGate gate(Echo, nullptr);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n")) == 400);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/ HTTP/1.1\r\nHost: api.test:81\r\n\r\n")) ==
        400);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/ HTTP/1.1\r\n\r\n")) == 400);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n"
                              "Host: api.test\r\n\r\n")) == 400);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n"
                              "Connection: x-test\r\n\r\n")) == 400);
  CHECK(gate.origin.connections() == 0);
}

TEST_CASE("a client that speaks TLS to the port reads there that it should not") {
  ProxyGate gate;
  GuestClient client(
      gate.Connect(),
      {.sni = "", .verify = "10.0.2.2", .trusted = gate.interceptor->trust_anchor().pem});
  const std::string answer = gate.Ask(client, Connect("api.test:443", "Host: api.test:443\r\n"));
  CHECK(StatusOf(answer) == 400);
  CHECK(Contains(answer, "without TLS"));
  CHECK(gate.decider.asked.empty());
}

TEST_CASE("bytes that are neither HTTP nor TLS end the connection") {
  ProxyGate gate;
  auto client = gate.OpenClient();
  client->Send("\x05\x01");  // SOCKS
  gate.RunUntil([&] { return client->broken(); });
  CHECK(gate.LastRecord().reason == Reason::kNotHttp);
}

TEST_CASE("a raw grant is spliced in both directions, and recorded at its end") {
  ProxyGate gate;
  std::array<int, 2> fds;
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  UniqueFd server(fds[1]);
  gate.answer = [&](const ProxyQuestion& question) -> ProxyVerdict {
    AuditRecord record;
    record.flow = question.flow;
    record.transport = "tcp";
    record.name = "db.test";
    record.allowed = true;
    return ProxyRaw{.socket = UniqueFd(fds[0]), .record = std::move(record)};
  };
  GuestClient client(gate.Tunnel("db.test:5432"), {.tls = false});
  const std::string up(300'000, 'u');
  const std::string down(300'000, 'd');
  std::string got;
  client.Send(up);
  size_t sent = 0;
  gate.RunUntil([&] {
    std::array<char, 65536> bytes;
    const ssize_t size = recv(server.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size > 0) got.append(bytes.data(), static_cast<size_t>(size));
    const ssize_t taken =
        send(server.get(), down.data() + sent, down.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken > 0) sent += static_cast<size_t>(taken);
    return got.size() == up.size() && client.received.size() == down.size();
  });
  CHECK(got == up);
  CHECK(client.received == down);

  SECTION("an end is passed on, and the other direction goes on") {
    client.CloseWrite();
    char byte = 0;
    gate.RunUntil([&] { return recv(server.get(), &byte, 1, MSG_DONTWAIT) == 0; });
    REQUIRE(send(server.get(), "x", 1, MSG_NOSIGNAL) == 1);
    gate.RunUntil([&] { return client.received.ends_with("dx"); });
    CHECK(gate.audit.records.empty());
    server = {};
    gate.RunUntil([&] { return client.ended(); });
    CHECK(gate.LastRecord().detail.empty());
    CHECK(gate.LastRecord().bytes_down == down.size() + 1);
  }
  SECTION("a reset is passed on") {
    client.Abort();
    char byte = 0;
    gate.RunUntil([&] { return recv(server.get(), &byte, 1, MSG_DONTWAIT) == 0; });
    CHECK(gate.LastRecord().detail.starts_with("the connection was reset"));
  }
  SECTION("a reset after the end is passed on") {
    client.CloseWrite();
    char byte = 0;
    gate.RunUntil([&] { return recv(server.get(), &byte, 1, MSG_DONTWAIT) == 0; });
    client.Abort();
    gate.RunUntil([&] { return !gate.audit.records.empty(); });
  }
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().allowed);
  CHECK(gate.LastRecord().bytes_up == up.size());
  CHECK(gate.port.connections() == 0);
}

TEST_CASE("a tunnel that is not intercepted is reset when nothing passes for too long") {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  UniqueFd server(fds[1]);
  ProxyGate gate;
  gate.answer = [&fds](const ProxyQuestion&) -> ProxyVerdict {
    AuditRecord record;
    record.allowed = true;
    return ProxyRaw{.socket = UniqueFd(fds[0]), .record = std::move(record)};
  };
  GuestClient client(gate.Tunnel("db.test:5432"), {.tls = false});
  gate.Settle();
  gate.clock.Advance(kRelayIdleTimeout / 2);
  REQUIRE(send(server.get(), "x", 1, MSG_NOSIGNAL) == 1);  // Counts for both directions.
  gate.RunUntil([&] { return client.received == "x"; });
  gate.Pass(kRelayIdleTimeout, [&] { return client.broken(); });
  gate.RunUntil([&] {
    char byte = 0;
    const ssize_t size = recv(server.get(), &byte, 1, MSG_DONTWAIT);
    return size == 0 || (size < 0 && errno != EAGAIN);
  });
  CHECK(gate.port.connections() == 0);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().detail == "nothing was sent for too long");
}

TEST_CASE("a tunnel that has carried what its rule allows ends, and the record denies the rest") {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
  UniqueFd server(fds[1]);
  ProxyGate gate;
  policy::BudgetBook book(nullptr);
  const auto budget = std::make_shared<policy::RuleBudget>(policy::RuleBudget{.rule = "db",
                                                                              .rate = {},
                                                                              .connections = {},
                                                                              .bytes_up = {},
                                                                              .bytes_down = 1000,
                                                                              .lifetime = {}});
  gate.answer = [&](const ProxyQuestion&) -> ProxyVerdict {
    AuditRecord record;
    record.allowed = true;
    return ProxyRaw{.socket = UniqueFd(fds[0]),
                    .record = std::move(record),
                    .spending = std::move(book.Open(budget, gate.loop->now()).spending)};
  };
  GuestClient client(gate.Tunnel("db.test:5432"), {.tls = false});
  const std::string much(2000, 'x');
  REQUIRE(send(server.get(), much.data(), much.size(), MSG_NOSIGNAL) == 2000);
  gate.RunUntil([&] { return !gate.audit.records.empty(); });
  CHECK_FALSE(gate.LastRecord().allowed);
  CHECK(gate.LastRecord().reason == Reason::kBudgetBytes);
  CHECK(gate.LastRecord().sent);
  CHECK(gate.port.connections() == 0);
}

TEST_CASE("a client of the proxy port has its time for a head, and then is reset") {
  ProxyGate gate;
  auto client = gate.OpenClient();
  client->Send("CONNECT api.test:443 HTTP/1.1\r\n");
  gate.Settle();
  gate.clock.Advance(kHeadTimeout / 2);
  client->Send("Host: api");
  gate.Settle();
  gate.Pass(kHeadTimeout - kHeadTimeout / 2, [&] { return client->broken(); });
  CHECK(gate.port.connections() == 0);
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().detail == "the request's head did not arrive in time");
}

TEST_CASE("a client that leaves while it is decided cancels the decision") {
  ProxyGate gate;
  gate.decider.silent = true;
  auto client = gate.OpenClient();
  client->Send(Connect("api.test:443", "Host: api.test:443\r\n"));
  gate.RunUntil([&] { return gate.decider.asked.size() == 1; });
  client->Send(std::string(kInputBlock * 2, 'x'));  // What is held for it is bounded.
  client->Abort();
  gate.RunUntil([&] { return gate.port.connections() == 0; });
  CHECK(gate.decider.cancelled == 1);
  CHECK(gate.audit.records.empty());
}

TEST_CASE("connections beyond the limit are reset, with a record") {
  ProxyGate gate;
  std::vector<std::unique_ptr<Stream>> open;
  for (size_t i = 0; i < kMaxProxyConnections; ++i) open.push_back(gate.Connect({.capacity = 64}));
  CHECK(gate.audit.records.empty());
  auto client = gate.OpenClient();
  gate.RunUntil([&] { return client->broken(); });
  REQUIRE(gate.audit.records.size() == 1);
  CHECK(gate.LastRecord().reason == Reason::kLimit);
  open.pop_back();
  gate.RunUntil([&] { return gate.port.connections() < kMaxProxyConnections; });
  auto another = gate.OpenClient();
  CHECK(StatusOf(gate.Ask(*another, Get("/"))) == 400);
}

TEST_CASE("heads that are too large are refused as on any connection") {
  ProxyGate gate;
  CHECK(StatusOf(gate.AskOnce(Connect(
            "api.test:443",
            "Host: api.test:443\r\nA: " + std::string(kMaxHeadBytes, 'a') + "\r\n"))) == 431);
  CHECK(StatusOf(gate.AskOnce("GET http://api.test/" + std::string(kMaxTargetBytes + 100, 'a') +
                              " HTTP/1.1\r\nHost: api.test\r\n\r\n")) == 414);
}

}  // namespace
}  // namespace sallyport::mitm
