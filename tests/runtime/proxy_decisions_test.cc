#include "runtime/warden/proxy_decisions.h"

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runtime/dial/guarded_dialer.h"
#include "runtime/warden/flow_answers.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/recording_audit.h"
#include "tests/runtime/policies.h"

namespace sallyport::runtime {
namespace {

using Form = mitm::ProxyQuestion::Form;

constexpr const char* kPolicy = R"(
allow.http { host = "api.example" }
allow.http { host = "inner.example" }
allow.http { host = "local.example", to = "127.0.0.1:11434" }
allow.tcp { host = "db.example", port = 5432 }
allow.tcp { host = "gate.example", port = 3128 }
allow.tcp { host = "self.example", port = 1 }
allow.tcp { ip = "11.1.0.0/16", port = 22 }
deny.http { host = "bad.api.example" }
)";

/// Decisions over a real policy and the real dialler. Nothing listens where anything may go.
struct Fixture {
  explicit Fixture(const char* text = kPolicy) {
    engine = LoadPolicy(text);
    resolver.Set("api.example", {*IpAddress::Parse("11.0.0.80")});
    resolver.Set("inner.example", {*IpAddress::Parse("11.0.0.81")});
    resolver.Set("db.example", {*IpAddress::Parse("10.0.0.5")});
    resolver.Set("gate.example",
                 {*IpAddress::Parse("10.0.2.2"), *IpAddress::Parse("fd00:5a11::2")});
    resolver.Set("self.example", {*IpAddress::Parse("127.0.0.1"), *IpAddress::Parse("::1")});
    decisions.emplace(
        ProxyDecisions::Services{*loop, *engine, split, dialer, audit, waits, nullptr, &budgets},
        [this](policy::Facts& facts) -> std::optional<Refusal> {
          attributed.push_back(facts.destination.address.ToString());
          return attribution;
        },
        [this](const HostName&, const policy::NameVerdict&) { return admission; });
  }

  mitm::ProxyVerdict Ask(const std::string& host, uint16_t port, Form form = Form::kTunnel) {
    std::optional<mitm::ProxyVerdict> verdict;
    auto pending = decisions->Decide(
        {.flow = 5, .source = {}, .form = form, .host = *ParseHost(host), .port = port},
        [&](mitm::ProxyVerdict got) { verdict = std::move(got); });
    CHECK_FALSE(verdict);
    while (!verdict) REQUIRE(*loop->RunOnce());
    return *std::move(verdict);
  }
  mitm::HttpFlow Http(const std::string& host, uint16_t port, Form form = Form::kTunnel) {
    auto verdict = Ask(host, port, form);
    REQUIRE(std::holds_alternative<mitm::HttpFlow>(verdict));
    return std::get<mitm::HttpFlow>(std::move(verdict));
  }
  Refusal Refused(const std::string& host, uint16_t port, Form form = Form::kTunnel) {
    const auto flow = Http(host, port, form);
    REQUIRE(flow.refusal);
    CHECK(flow.facts.destination.port == port);
    return *flow.refusal;
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  std::unique_ptr<policy::Engine> engine;
  FakeResolver resolver{*loop};
  FakeResolvers others;
  SplitResolver split{resolver, MakeFakes(*loop, others)};
  GuardedDialer dialer{*loop, split};
  RecordingAudit audit;
  policy::FakeWaits waits;
  std::vector<std::string> attributed;
  std::optional<Refusal> admission;  // Of names.
  policy::BudgetBook budgets{nullptr};
  std::optional<Refusal> attribution;
  std::optional<ProxyDecisions> decisions;
};

TEST_CASE("a granted name's facts are those of a flow to it") {
  Fixture fixture;
  const auto form = GENERATE(Form::kTunnel, Form::kRequest);
  const auto flow = fixture.Http("API.example", 80, form);
  CHECK_FALSE(flow.refusal);
  CHECK(flow.verdict.action == policy::FlowVerdict::Action::kHttp);
  CHECK(flow.verdict.http);
  CHECK(flow.facts.flow == 5);
  CHECK(flow.facts.name->text() == "api.example");
  CHECK(flow.facts.destination.address == *IpAddress::Parse("11.0.0.80"));
  CHECK(flow.facts.destination.port == 80);
  CHECK(fixture.attributed.empty());
}

TEST_CASE("a name that no rule can use is asked of nobody, in a tunnel or a request") {
  Fixture fixture;
  for (const auto form : {Form::kTunnel, Form::kRequest}) {
    for (const char* host : {"evil.example", "data.api.example", "example", "localhost"}) {
      INFO(host);
      const Refusal refusal = fixture.Refused(host, 443, form);
      CHECK(refusal.reason == Reason::kNameNotGranted);
      CHECK(refusal.status == 403);
      CHECK(refusal.how_to_allow.find(host) != std::string::npos);
    }
  }
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("a name whose uses all go elsewhere is not resolved") {
  Fixture fixture;
  const auto flow = fixture.Http("local.example", 443);
  CHECK_FALSE(flow.refusal);
  REQUIRE(flow.verdict.to());
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("a port that no rule grants is refused, though the name is granted") {
  Fixture fixture;
  CHECK(fixture.Refused("api.example", 22).reason == Reason::kNotGranted);
  CHECK(fixture.Refused("db.example", 443).reason == Reason::kNotGranted);
}

TEST_CASE("a name that does not resolve is a 502 that says so") {
  Fixture fixture("allow.http { host = \"*.example\" }");
  const Refusal gone = fixture.Refused("gone.example", 443);
  CHECK(gone.reason == Reason::kNameNotFound);
  CHECK(gone.status == 502);
  fixture.resolver.SetError("slow.example", Error(Code::kTimeout, "no resolver answered"));
  CHECK(fixture.Refused("slow.example", 443).reason == Reason::kResolverFailed);
}

TEST_CASE("a raw grant is not for requests that only an HTTP server understands") {
  Fixture fixture;
  const Refusal refusal = fixture.Refused("db.example", 5432, Form::kRequest);
  CHECK(refusal.reason == Reason::kNotGranted);
  CHECK(refusal.rule == "policy.lua:5");
}

TEST_CASE("a raw tunnel is dialled by the guard: no private address, no loopback, no gateway") {
  Fixture fixture;
  for (const auto& [host, port] :
       {std::pair{"db.example", 5432}, {"gate.example", 3128}, {"self.example", 1}}) {
    INFO(host);
    const Refusal refusal = fixture.Refused(host, static_cast<uint16_t>(port));
    CHECK(refusal.reason == Reason::kAddressRefused);
    CHECK(refusal.status == 403);
  }
}

TEST_CASE("a raw tunnel to what the user chose is connected, and its record is complete") {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = Endpoint{IpAddress::V4(127, 0, 0, 1), 0}.ToSockaddr(address);
  REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(listener.get(), 1) == 0);
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  const std::string port = std::to_string(ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port));
  const std::string policy =
      "allow.tcp { host = \"db.example\", port = 5432, to = \"127.0.0.1:" + port + "\" }";
  Fixture fixture(policy.c_str());
  auto verdict = fixture.Ask("db.example", 5432);
  REQUIRE(std::holds_alternative<mitm::ProxyRaw>(verdict));
  const auto& raw = std::get<mitm::ProxyRaw>(verdict);
  CHECK(raw.socket.valid());
  CHECK(raw.record.allowed);
  CHECK(raw.record.flow == 5);
  CHECK(raw.record.transport == "tcp");
  CHECK(raw.record.name == "db.example");
  CHECK(raw.record.port == 5432);
  CHECK(raw.record.rule == "policy.lua:1");
  CHECK(raw.record.address == IpAddress::V4(127, 0, 0, 1));
}

TEST_CASE("a literal address needs an ip rule, whatever names resolve to it") {
  Fixture fixture;
  for (const char* host : {"11.0.0.80", "127.0.0.1", "[::1]", "0x7f.1", "2130706433",
                           "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0"}) {
    INFO(host);
    CHECK(fixture.Refused(host, 443).reason == Reason::kNotGranted);
  }
  CHECK(fixture.attributed.size() == 8);
  CHECK(fixture.attributed[3] == "127.0.0.1");
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("what is refused before the policy stays refused") {
  Fixture fixture;
  fixture.attribution = Refuse(Reason::kUnknownAddress, "belongs to no name");
  CHECK(fixture.Refused("11.1.0.1", 22).reason == Reason::kUnknownAddress);
}

TEST_CASE("an audit log that can't be written refuses, and nothing is resolved") {
  Fixture fixture;
  fixture.audit.is_healthy = false;
  CHECK(fixture.Refused("api.example", 443).reason == Reason::kAuditUnavailable);
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("a decision that is given up leaves nothing behind") {
  Fixture fixture;
  for (int turns = 0; turns < 3; ++turns) {
    auto pending = fixture.decisions->Decide({.flow = 5,
                                              .source = {},
                                              .form = Form::kTunnel,
                                              .host = *ParseHost("api.example"),
                                              .port = 443},
                                             [](mitm::ProxyVerdict) { FAIL("decided"); });
    for (int i = 0; i < turns; ++i) {
      if (i == 1) break;  // The next one would decide.
      REQUIRE(*fixture.loop->RunOnce());
    }
    pending = {};
  }
  CHECK_FALSE(*fixture.loop->RunOnce());
}

}  // namespace
}  // namespace sallyport::runtime
