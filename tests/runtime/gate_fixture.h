#pragma once

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/dns_records.h"
#include "runtime/warden/gate.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/recording_audit.h"
#include "tests/runtime/policies.h"

namespace sallyport::runtime {

/// Connects to nothing: hands out one end of a socket pair, and remembers where to.
class FakeDialer : public Dialer {
 public:
  explicit FakeDialer(Loop& loop) : loop_(loop) {}
  Pending Dial(const Destination& destination, Transport,
               std::function<void(Result<Dialed>)> done) override {
    dialed.push_back(ToString(destination.host) + ":" + std::to_string(destination.port) +
                     (destination.chosen_by_user ? " by the user" : ""));
    posted_ = loop_.Post([this, call = std::move(done)] {
      if (error) return call(tl::unexpected(*error));
      std::array<int, 2> fds;
      REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
      other_end = UniqueFd(fds[1]);
      call(Dialed{UniqueFd(fds[0]), {*IpAddress::Parse("11.0.0.80"), 80}});
    });
    return Pending([this] { posted_ = {}; });
  }
  std::vector<std::string> dialed;
  std::optional<Error> error;
  UniqueFd other_end;

 private:
  Loop& loop_;
  Loop::Handle posted_;
};

class FakeInterceptor : public mitm::Interceptor {
 public:
  const mitm::TrustAnchor& trust_anchor() const override { return anchor_; }
  void Serve(std::unique_ptr<Stream>, mitm::HttpFlow flow) override {
    served.push_back(std::move(flow));
  }
  size_t connections() const override { return served.size(); }
  Pending Fetch(const policy::FetchWait&, const policy::Facts&,
                std::function<void(policy::Fetched)>) override {
    return {};
  }
  std::vector<mitm::HttpFlow> served;

 private:
  mitm::TrustAnchor anchor_;
};

inline constexpr const char* kPolicy = R"(
allow.http { host = "api.example" }
allow.tcp { host = "db.example", port = 5432, resolves_to = "10.0.0.0/8" }
allow.tcp { host = "local.example", port = 1, to = "127.0.0.1:11434" }
allow.udp { host = "time.example", port = 123 }
allow.icmp { host = { "time.example", "db.example" } }
allow.tcp { ip = "11.1.0.0/16", port = 22 }
)";

/// A Gate between a policy and fakes, asked as the network asks it.
struct GateFixture {
  explicit GateFixture(const char* text = kPolicy) {
    engine = LoadPolicy(text);
    resolver.Set("api.example", {*IpAddress::Parse("11.0.0.80")});
    resolver.Set("db.example", {*IpAddress::Parse("10.0.0.5")});
    resolver.Set("time.example", {*IpAddress::Parse("11.0.0.123")});
    gate.emplace(Gate::Services{*loop, *engine, split, dialer, interceptor, audit, waits, nullptr,
                                &budgets});
  }

  netstack::FlowInfo Flow(Transport transport, const IpAddress& address, uint16_t port) {
    return {.id = ++flows, .transport = transport, .source = {}, .destination = {address, port}};
  }

  netstack::FlowVerdict Decide(const netstack::FlowInfo& flow) {
    std::optional<netstack::FlowVerdict> verdict;
    auto pending = gate->Decide(flow, [&](netstack::FlowVerdict got) { verdict = std::move(got); });
    CHECK_FALSE(verdict);
    while (!verdict) REQUIRE(*loop->RunOnce());
    return *std::move(verdict);
  }

  policy::dns::UpstreamAnswer Ask(const std::string& name, uint16_t type = policy::dns::kTypeA) {
    return *policy::dns::ParseResponse(Reply(name, type), *HostName::Parse(name), type);
  }
  policy::dns::RecordsAnswer AskRecords(const std::string& name, uint16_t type) {
    return *policy::dns::ParseRecords(Reply(name, type), *HostName::Parse(name), type);
  }

  std::string Reply(const std::string& name, uint16_t type) {
    const auto flow = Flow(Transport::kUdp, *IpAddress::Parse("10.0.2.2"), 53);
    auto verdict = Decide(flow);
    REQUIRE(std::holds_alternative<netstack::ServeFlow>(verdict));
    const auto asked = *HostName::Parse(name);
    std::optional<std::string> reply;
    std::get<netstack::ServeFlow>(verdict).service->OnDatagram(
        flow, policy::dns::BuildQuery(7, asked, type),
        [&](std::string_view bytes) { reply = std::string(bytes); });
    while (!reply) REQUIRE(*loop->RunOnce());
    return *reply;
  }

  IpAddress AddressOf(const std::string& name) {
    const auto answer = Ask(name);
    REQUIRE(answer.addresses.size() == 1);
    return answer.addresses[0];
  }

  netstack::DenyFlow::As Denied(const netstack::FlowVerdict& verdict) {
    REQUIRE(std::holds_alternative<netstack::DenyFlow>(verdict));
    return std::get<netstack::DenyFlow>(verdict).as;
  }

  const AuditRecord& Last() {
    REQUIRE_FALSE(audit.records.empty());
    return audit.records.back();
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  std::unique_ptr<policy::Engine> engine;
  FakeResolver resolver{*loop};
  FakeResolvers others;
  SplitResolver split{resolver, MakeFakes(*loop, others)};
  FakeDialer dialer{*loop};
  FakeInterceptor interceptor;
  RecordingAudit audit;
  policy::FakeWaits waits;
  policy::BudgetBook budgets{nullptr};
  std::optional<Gate> gate;
  uint64_t flows = 0;
};

}  // namespace sallyport::runtime
