#include "runtime/warden/gate.h"

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "policy/live_engine.h"
#include "tests/runtime/gate_fixture.h"

namespace sallyport::runtime {
namespace {

using netstack::AcceptFlow;
using netstack::DenyFlow;
using netstack::FlowVerdict;

/// A gate whose policy can be replaced.
struct Reloading : GateFixture {
  Reloading() {
    live = std::make_unique<policy::LiveEngine>(std::move(engine));
    gate.emplace(Gate::Services{*loop, *live, split, dialer, interceptor, audit, waits});
  }

  /// The flows to be cut when TEXT is put into force.
  std::vector<uint64_t> Reload(const char* text) {
    auto loaded = policy::Engine::Load({.text = text, .name = "policy.lua", .folder = "/"});
    REQUIRE(loaded.engine);
    const auto before = gate->OpenTerms();
    live->Replace(std::move(loaded.engine));
    return gate->Changed(before);
  }

  std::unique_ptr<policy::LiveEngine> live;
};

TEST_CASE("a reload cuts the flows that are denied or granted otherwise now, and no other") {
  Reloading fixture;
  const auto database = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  const auto time = fixture.Flow(Transport::kUdp, fixture.AddressOf("time.example"), 123);
  const auto web = fixture.Flow(Transport::kTcp, fixture.AddressOf("api.example"), 443);
  const auto address = fixture.Flow(Transport::kTcp, *IpAddress::Parse("11.1.0.1"), 22);
  for (const auto& flow : {database, time, web, address}) fixture.Decide(flow);
  CHECK(fixture.Reload(kPolicy).empty());
  const auto cut = fixture.Reload(
      "allow.http { host = 'api.example', path = '/x' }\n"
      "allow.tcp { host = 'db.example', port = 5432, resolves_to = '10.1.0.0/16' }\n"
      "allow.tcp { ip = '11.1.0.0/16', port = 22 }");
  CHECK(cut == std::vector<uint64_t>{database.id, time.id, web.id});
  fixture.gate->OnFlowEnd(database, {});
  CHECK(fixture.Last().detail == "cut, because the policy was reloaded");
  CHECK(fixture.Last().generation == 1);
}

TEST_CASE("a reload decides anew who is asked about names with resolvers of their own") {
  Reloading fixture;
  const auto policy = [](const char* options) {
    return "on.connect(function(conn)\n"
           "  local q = conn:match_dns()\n"
           "  if q then return q:accept " +
           std::string(options) + " end\nend)";
  };
  const HostName name = *HostName::Parse("a.corp.example");
  const auto cached = [&] { return fixture.split.Cached(name)->addresses.front().ToString(); };
  fixture.resolver.Set("a.corp.example", {*IpAddress::Parse("11.0.0.1")});
  fixture.Reload(policy("{ resolvers = { '10.0.0.53' } }").c_str());
  fixture.Ask("a.corp.example");
  fixture.others.at("10.0.0.53:53")->Set("a.corp.example", {*IpAddress::Parse("11.0.0.2")});
  CHECK(cached() == "11.0.0.2");
  fixture.Reload("allow.http { host = 'other.example' }");  // Nothing is granted, nothing decided.
  CHECK(cached() == "11.0.0.2");
  fixture.Reload(policy("{ resolvers = { '10.0.0.54' } }").c_str());
  CHECK(fixture.split.Cached(name) == nullptr);
  fixture.others.at("10.0.0.54:53")->Set("a.corp.example", {*IpAddress::Parse("11.0.0.3")});
  CHECK(cached() == "11.0.0.3");
  fixture.Reload(policy("{}").c_str());
  CHECK(cached() == "11.0.0.1");
}

TEST_CASE("a flow that was told a refusal is cut when it would not be refused any more") {
  Reloading fixture;
  const auto address = fixture.AddressOf("evil.example");
  const auto flow = fixture.Flow(Transport::kTcp, address, 443);
  fixture.Decide(flow);
  CHECK(fixture.Reload(kPolicy).empty());
  CHECK(fixture.Reload("allow.http { host = 'evil.example' }") == std::vector<uint64_t>{flow.id});
  auto verdict = fixture.Decide(fixture.Flow(Transport::kTcp, address, 443));
  REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
  std::get<AcceptFlow>(verdict).take(nullptr);
  CHECK_FALSE(fixture.interceptor.served.back().refusal);
}

TEST_CASE("a flow that is denied while it is being dialled is refused") {
  Reloading fixture;
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  std::optional<FlowVerdict> verdict;
  auto pending = fixture.gate->Decide(flow, [&](FlowVerdict got) { verdict = std::move(got); });
  while (fixture.dialer.dialed.empty()) REQUIRE(*fixture.loop->RunOnce());
  REQUIRE_FALSE(verdict);
  CHECK(fixture.Reload("allow.http { host = 'api.example' }") == std::vector<uint64_t>{flow.id});
  while (!verdict) REQUIRE(*fixture.loop->RunOnce());
  CHECK(fixture.Denied(*verdict) == DenyFlow::As::kProhibited);
}

}  // namespace
}  // namespace sallyport::runtime
