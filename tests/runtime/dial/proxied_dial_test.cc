#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <optional>

#include "runtime/dial/connect_reply.h"
#include "runtime/dial/guarded_dialer.h"
#include "runtime/dial/parent_proxy.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/proxy_server.h"

namespace sallyport::runtime {
namespace {

using namespace std::chrono_literals;

constexpr char kEstablished[] = "HTTP/1.1 200 Connection established\r\n\r\n";
constexpr char kCredentials[] = "me:hunter2";

HostName Name(const char* text) {
  return *HostName::Parse(text);
}
IpAddress Address(const char* text) {
  return *IpAddress::Parse(text);
}

struct Fixture {
  explicit Fixture(std::vector<std::string> no_proxy = {}, std::string host = "127.0.0.1") {
    ProxySpec spec;
    spec.from = ProxySpec::From::kSource;
    spec.no_proxy = std::move(no_proxy);
    const std::string url =
        std::string("http://") + kCredentials + "@" + host + ":" + std::to_string(server.port);
    parent = *ParentProxy::Make(spec, {url});
    dialer.emplace(*loop, resolver, parent.get());
    server.answer = {kEstablished};
    resolver.Set("api.example", {Address("11.0.0.1")});
  }

  Destination To(Host host, uint16_t port = 443) {
    return {.host = std::move(host), .port = port, .filter = {}};
  }

  Result<Dialed> Dial(const Destination& destination, Transport transport = Transport::kTcp) {
    std::optional<Result<Dialed>> result;
    auto pending = dialer->Dial(destination, transport,
                                [&](Result<Dialed> dialed) { result = std::move(dialed); });
    CHECK_FALSE(result);
    while (!result) REQUIRE(*loop->RunOnce());
    if (!*result) CHECK(result->error().message().find("hunter2") == std::string::npos);
    return *std::move(result);
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  FakeResolver resolver{*loop};
  ProxyServer server{*loop};
  std::unique_ptr<ParentProxy> parent;
  std::optional<GuardedDialer> dialer;
};

TEST_CASE("a name is asked of the proxy by name, with the credentials, after it was checked") {
  Fixture fixture;
  const auto dialed = fixture.Dial(fixture.To(Name("api.example")));
  REQUIRE(dialed);
  CHECK(dialed->peer.ToString() == "127.0.0.1:" + std::to_string(fixture.server.port));
  CHECK(fixture.resolver.asked == std::vector<std::string>{"api.example"});
  CHECK(fixture.server.requests ==
        std::vector<std::string>{"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
                                 "Proxy-Authorization: Basic bWU6aHVudGVyMg==\r\n\r\n"});
}

TEST_CASE("a name that this host can't resolve is left to the proxy") {
  Fixture fixture;
  fixture.resolver.SetError("slow.example", Error(Code::kTimeout, "no resolver answered"));
  CHECK(fixture.Dial(fixture.To(Name("none.example"))));
  CHECK(fixture.Dial(fixture.To(Name("slow.example"))));
  CHECK(fixture.server.requests.size() == 2);
  // But not one that goes past the proxy.
  Fixture direct({"none.example"});
  CHECK(direct.Dial(direct.To(Name("none.example"))).error().code() == Code::kNotFound);
  CHECK(direct.server.requests.empty());
}

TEST_CASE("a name with a refused address among its addresses does not reach the proxy") {
  Fixture fixture;
  const std::vector<std::vector<IpAddress>> sets = {
      {Address("10.0.0.1")},
      {Address("169.254.169.254")},
      {Address("127.0.0.1"), Address("::1")},
      {Address("11.0.0.1"), Address("192.168.0.1")},
      {Address("11.0.0.1"), Address("64:ff9b::a00:1")},
  };
  for (const auto& addresses : sets) {
    fixture.resolver.Set("inside.example", addresses);
    const auto dialed = fixture.Dial(fixture.To(Name("inside.example")));
    REQUIRE_FALSE(dialed);
    CHECK(dialed.error().code() == Code::kAddressRefused);
  }
  CHECK(fixture.Dial(fixture.To(Address("10.0.0.1"))).error().code() == Code::kAddressRefused);
  CHECK(fixture.server.requests.empty());
  auto destination = fixture.To(Name("inside.example"));
  fixture.resolver.Set("inside.example", {Address("11.0.0.1"), Address("192.168.0.1")});
  destination.filter.prefixes = {*Prefix::Parse("192.168.0.0/16")};
  CHECK(fixture.Dial(destination));
}

TEST_CASE("a literal address that is admitted is asked of the proxy as it is") {
  Fixture fixture;
  REQUIRE(fixture.Dial(fixture.To(Address("2600::1"), 22)));
  CHECK(fixture.server.requests[0].starts_with("CONNECT [2600::1]:22 HTTP/1.1\r\n"));
}

TEST_CASE("loopback, what no_proxy names, and names that resolve there are dialled directly") {
  Fixture fixture({"10.0.0.0/8"});
  ProxyServer target(*fixture.loop);
  auto destination = fixture.To(Address("127.0.0.1"), target.port);
  destination.chosen_by_user = true;
  const auto direct = fixture.Dial(destination);
  REQUIRE(direct);
  CHECK(direct->peer.port == target.port);
  fixture.resolver.Set("here.example", {Address("127.0.0.1")});
  destination.host = Name("here.example");
  const auto named = fixture.Dial(destination);
  REQUIRE(named);
  CHECK(named->peer.port == target.port);
  // What the user wrote is not on this host: the proxy's.
  destination.host = Name("api.example");
  CHECK(fixture.Dial(destination));
  CHECK(fixture.server.requests.size() == 1);
}

TEST_CASE("UDP never goes through the proxy") {
  Fixture fixture;
  const auto dialed = fixture.Dial(fixture.To(Name("api.example"), 53), Transport::kUdp);
  if (dialed) CHECK(dialed->peer.ToString() == "11.0.0.1:53");
  CHECK(fixture.server.requests.empty());
}

TEST_CASE("a server that speaks first is heard, whatever its words came with") {
  const std::string all = std::string(kEstablished) + "SSH-2.0-server\r\n";
  for (size_t cut = 1; cut < all.size(); ++cut) {
    Fixture fixture;
    fixture.server.answer = {all.substr(0, cut), all.substr(cut)};
    const auto dialed = fixture.Dial(fixture.To(Name("api.example"), 22));
    REQUIRE(dialed);
    std::string heard;
    while (heard.size() < 16) {
      std::array<char, 64> piece;
      const ssize_t size = read(dialed->socket.get(), piece.data(), piece.size());
      if (size > 0) {
        heard.append(piece.data(), static_cast<size_t>(size));
      } else {
        REQUIRE(size < 0);
        REQUIRE(*fixture.loop->RunOnce());
      }
    }
    CHECK(heard == "SSH-2.0-server\r\n");
  }
}

TEST_CASE(
    "each way in which a proxy refuses is said, without what it wrote and without the password") {
  struct Row {
    std::vector<std::string> answer;
    Code code;
    const char* words;
  };
  const Row rows[] = {
      {{"HTTP/1.1 407 hunter2\r\nProxy-Authenticate: NTLM\r\n\r\n"},
       Code::kProxyRefused,
       "does not accept the user and password that it is given (407); it takes NTLM"},
      {{"HTTP/1.1 403 hunter2\r\n\r\n"},
       Code::kProxyRefused,
       "answers 403 to CONNECT api.example:443"},
      {{"HTTP/1.1 503 no\r\n\r\n"}, Code::kProxyRefused, "answers 503"},
      {{"HTTP/1.1 504 no\r\n\r\n"}, Code::kProxyTimeout, "answers 504"},
      {{"HTTP/1.1 302 no\r\nLocation: x\r\n\r\n"}, Code::kProxyRefused, "answers 302"},
      {{"SSH-2.0-hunter2\r\n"}, Code::kProxyRefused, "not HTTP"},
      {{std::string(ConnectReply::kMaxHead + 1, 'x')}, Code::kProxyRefused, "not HTTP"},
      {{"HTTP/1.1 200"}, Code::kProxyRefused, "closed the connection without an answer"},
      {{""}, Code::kProxyRefused, "closed the connection without an answer"},
  };
  for (const Row& row : rows) {
    Fixture fixture;
    fixture.server.answer = row.answer;
    fixture.server.hang_up = true;
    const auto dialed = fixture.Dial(fixture.To(Name("api.example")));
    REQUIRE_FALSE(dialed);
    CHECK(dialed.error().code() == row.code);
    CAPTURE(dialed.error().message());
    CHECK(dialed.error().message().find(row.words) != std::string::npos);
    CHECK(dialed.error().message().find("the parent proxy 127.0.0.1:") == 0);
  }
}

TEST_CASE("a proxy that is not there, or has no address, is said to be the proxy") {
  Fixture fixture;
  std::string url;
  {
    ProxyServer gone(*fixture.loop);
    url = "http://127.0.0.1:" + std::to_string(gone.port);
  }
  for (const auto& where : {url, std::string("http://proxy.example:3128")}) {
    ProxySpec spec;
    spec.url = where;
    const auto parent = *ParentProxy::Make(spec, {});
    fixture.dialer.emplace(*fixture.loop, fixture.resolver, parent.get());
    const auto dialed = fixture.Dial(fixture.To(Name("api.example")));
    REQUIRE_FALSE(dialed);
    CHECK(dialed.error().code() == Code::kProxyRefused);
    CHECK(dialed.error().message().find("the parent proxy " + where.substr(7)) == 0);
  }
}

TEST_CASE("a proxy's own address may be of any class, by name too") {
  Fixture fixture({}, "proxy.example");
  fixture.resolver.Set("proxy.example", {Address("127.0.0.1")});
  REQUIRE(fixture.Dial(fixture.To(Name("api.example"))));
  Fixture local({}, "localhost");
  REQUIRE(local.Dial(local.To(Name("api.example"))));
  CHECK(local.resolver.asked == std::vector<std::string>{"api.example"});
}

TEST_CASE("a dial through a proxy that is given up calls nobody, wherever it is") {
  Fixture fixture({}, "proxy.example");
  fixture.resolver.Set("proxy.example", {Address("127.0.0.1")});
  fixture.server.answer = {};
  for (int turns = 0; turns < 8; ++turns) {
    bool called = false;
    auto pending = fixture.dialer->Dial(fixture.To(Name("api.example")), Transport::kTcp,
                                        [&](Result<Dialed>) { called = true; });
    for (int i = 0; i < turns; ++i) {
      auto tick = fixture.loop->After(5ms, [] {});  // Nothing may be left to wait for.
      REQUIRE(*fixture.loop->RunOnce());
    }
    pending = {};
    auto tick = fixture.loop->After(1ms, [] {});
    REQUIRE(*fixture.loop->RunOnce());
    CHECK_FALSE(called);
  }
  CHECK_FALSE(fixture.server.requests.empty());
}

}  // namespace
}  // namespace sallyport::runtime
