#include "runtime/warden/gate.h"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <optional>

#include "policy/dns_records.h"
#include "policy/live_engine.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/memory_stream.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/recording_audit.h"
#include "tests/runtime/policies.h"

namespace sallyport::runtime {
namespace {

namespace dns = policy::dns;
using netstack::AcceptFlow;
using netstack::DenyFlow;
using netstack::FlowInfo;
using netstack::FlowVerdict;
using netstack::ServeFlow;
using netstack::SpliceFlow;

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

constexpr const char* kPolicy = R"(
allow.http { host = "api.example" }
allow.tcp { host = "db.example", port = 5432, resolves_to = "10.0.0.0/8" }
allow.tcp { host = "local.example", port = 1, to = "127.0.0.1:11434" }
allow.udp { host = "time.example", port = 123 }
allow.icmp { host = { "time.example", "db.example" } }
allow.tcp { ip = "11.1.0.0/16", port = 22 }
)";

struct Fixture {
  explicit Fixture(const char* text = kPolicy) {
    engine = LoadPolicy(text);
    resolver.Set("api.example", {*IpAddress::Parse("11.0.0.80")});
    resolver.Set("db.example", {*IpAddress::Parse("10.0.0.5")});
    resolver.Set("time.example", {*IpAddress::Parse("11.0.0.123")});
    gate.emplace(Gate::Services{*loop, *engine, resolver, dialer, interceptor, audit, waits, nullptr,
                                &budgets});
  }

  FlowInfo Flow(Transport transport, const IpAddress& address, uint16_t port) {
    return {.id = ++flows, .transport = transport, .source = {}, .destination = {address, port}};
  }

  FlowVerdict Decide(const FlowInfo& flow) {
    std::optional<FlowVerdict> verdict;
    auto pending = gate->Decide(flow, [&](FlowVerdict got) { verdict = std::move(got); });
    CHECK_FALSE(verdict);
    while (!verdict) REQUIRE(*loop->RunOnce());
    return *std::move(verdict);
  }

  dns::UpstreamAnswer Ask(const std::string& name, uint16_t type = dns::kTypeA) {
    return *dns::ParseResponse(Reply(name, type), *HostName::Parse(name), type);
  }
  dns::RecordsAnswer AskRecords(const std::string& name, uint16_t type) {
    return *dns::ParseRecords(Reply(name, type), *HostName::Parse(name), type);
  }

  std::string Reply(const std::string& name, uint16_t type) {
    const auto flow = Flow(Transport::kUdp, *IpAddress::Parse("10.0.2.2"), 53);
    auto verdict = Decide(flow);
    REQUIRE(std::holds_alternative<ServeFlow>(verdict));
    const auto asked = *HostName::Parse(name);
    std::optional<std::string> reply;
    std::get<ServeFlow>(verdict).service->OnDatagram(
        flow, dns::BuildQuery(7, asked, type),
        [&](std::string_view bytes) { reply = std::string(bytes); });
    while (!reply) REQUIRE(*loop->RunOnce());
    return *reply;
  }

  IpAddress AddressOf(const std::string& name) {
    const auto answer = Ask(name);
    REQUIRE(answer.addresses.size() == 1);
    return answer.addresses[0];
  }

  DenyFlow::As Denied(const FlowVerdict& verdict) {
    REQUIRE(std::holds_alternative<DenyFlow>(verdict));
    return std::get<DenyFlow>(verdict).as;
  }

  const AuditRecord& Last() {
    REQUIRE_FALSE(audit.records.empty());
    return audit.records.back();
  }

  std::unique_ptr<Loop> loop = *Loop::Create();
  std::unique_ptr<policy::Engine> engine;
  FakeResolver resolver{*loop};
  FakeDialer dialer{*loop};
  FakeInterceptor interceptor;
  RecordingAudit audit;
  policy::FakeWaits waits;
  policy::BudgetBook budgets{nullptr};
  std::optional<Gate> gate;
  uint64_t flows = 0;
};

TEST_CASE("a granted name gets one synthetic address, the same each time") {
  Fixture fixture;
  const auto address = fixture.AddressOf("api.example");
  CHECK(Prefix::Parse("198.18.0.0/15")->Contains(address));
  CHECK(fixture.AddressOf("api.example") == address);
  CHECK(fixture.AddressOf("db.example") != address);
  CHECK(fixture.Ask("api.example", dns::kTypeAaaa).addresses.empty());
  CHECK(fixture.Ask("api.example", dns::kTypeHttps).rcode == dns::Rcode::kNoError);
}

TEST_CASE("a name that no rule can use is asked of nobody, whatever the type") {
  Fixture fixture;
  constexpr std::array<uint16_t, 8> kTypes = {1, 28, 16, 15, 5, 65, 255, 10};
  for (const uint16_t type : kTypes) fixture.Ask("evil.example", type);
  fixture.Ask("data.api.example");
  CHECK(fixture.resolver.asked.empty());
  CHECK(fixture.Last().reason == Reason::kNameNotGranted);
  CHECK_FALSE(fixture.Last().allowed);
}

constexpr const char* kTypes = R"(
allow.http { host = "api.example" }
allow.dns { host = "mail.example", types = { "TXT", "MX" }, rate = "4/h" }
allow.dns { host = "*.in-addr.arpa", types = "PTR" }
)";
constexpr uint16_t kTxt = 16, kMx = 15, kPtr = 12, kAny = 255;

ResolvedRecords RecordsOf(std::vector<std::string> data) {
  return {std::move(data), {}, Clock::time_point::max()};
}

TEST_CASE("records of the types that a rule grants are given to the guest, for a short while") {
  Fixture fixture(kTypes);
  fixture.resolver.SetRecords("mail.example", kTxt, RecordsOf({"\x05hello", "\x05world"}));
  const auto answer = fixture.AskRecords("mail.example", kTxt);
  CHECK(answer.data == std::vector<std::string>{"\x05hello", "\x05world"});
  CHECK(answer.ttl == 30);
  CHECK(fixture.Last().allowed);
  CHECK(fixture.Last().method == "TXT");
  // A name with such records need not have an address, and NXDOMAIN would deny them, too.
  const auto address = fixture.Ask("mail.example");
  CHECK(address.rcode == dns::Rcode::kNoError);
  CHECK(address.addresses.empty());
  CHECK(fixture.AskRecords("mail.example", kMx).rcode == dns::Rcode::kNxDomain);
  CHECK(fixture.Last().reason == Reason::kNameNotFound);
  fixture.resolver.SetRecords("mail.example", kTxt,
                              Fail(Code::kUnreachable, "no resolver answered"));
  CHECK(fixture.AskRecords("mail.example", kTxt).rcode == dns::Rcode::kServFail);
  CHECK(fixture.Last().reason == Reason::kResolverFailed);
  // The fifth of "4/h", whatever the type.
  CHECK(fixture.AskRecords("mail.example", kMx).rcode == dns::Rcode::kRefused);
  CHECK(fixture.Last().reason == Reason::kBudgetRate);
}

TEST_CASE("a type of a granted name that no rule grants is asked of nobody, and recorded") {
  Fixture fixture(kTypes);
  for (const uint16_t type : {kTxt, kMx, kAny}) {
    INFO(type);
    const size_t before = fixture.audit.records.size();
    const auto answer = fixture.AskRecords("api.example", type);
    CHECK(answer.rcode == dns::Rcode::kNoError);
    CHECK(answer.data.empty());
    REQUIRE(fixture.audit.records.size() == before + 1);
    CHECK(fixture.Last().reason == Reason::kNotGranted);
    CHECK_FALSE(fixture.Last().allowed);
  }
  fixture.AskRecords("api.example", kTxt);
  CHECK(fixture.Last().how_to_allow ==
        "allow.dns { host = \"api.example\", types = { \"TXT\" } }");
  CHECK(fixture.AskRecords("mail.example", dns::kTypeHttps).data.empty());
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("reverse names of private addresses are asked of nobody") {
  Fixture fixture(kTypes);
  const std::string host = "\x04host\x07" "example" + std::string(1, '\0');
  fixture.resolver.SetRecords("4.3.2.11.in-addr.arpa", kPtr, RecordsOf({host}));
  CHECK(fixture.AskRecords("4.3.2.11.in-addr.arpa", kPtr).data == std::vector<std::string>{host});
  fixture.resolver.asked.clear();
  CHECK(fixture.AskRecords("1.0.0.10.in-addr.arpa", kPtr).data.empty());
  CHECK(fixture.Last().reason == Reason::kAddressRefused);
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("records that are too many for a datagram are cut, for the guest to ask over TCP") {
  Fixture fixture(kTypes);
  const std::string text = "\xff" + std::string(255, 'x');
  fixture.resolver.SetRecords("mail.example", kTxt, RecordsOf({text, text, text, text, text}));
  CHECK(fixture.AskRecords("mail.example", kTxt).truncated);
}

TEST_CASE("an unlisted name is told so over HTTP, and reset elsewhere") {
  Fixture fixture;
  const auto address = fixture.AddressOf("evil.example");
  auto verdict = fixture.Decide(fixture.Flow(Transport::kTcp, address, 443));
  REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
  std::get<AcceptFlow>(verdict).take(nullptr);
  REQUIRE(fixture.interceptor.served.size() == 1);
  CHECK(fixture.interceptor.served[0].refusal->reason == Reason::kNameNotGranted);
  CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 22))) ==
        DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kNameNotGranted);
  CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kUdp, address, 443))) ==
        DenyFlow::As::kProhibited);
}

TEST_CASE("unlisted = nxdomain says so plainly") {
  Fixture fixture("dns { unlisted = \"nxdomain\" }\nallow.http { host = \"api.example\" }");
  CHECK(fixture.Ask("evil.example").rcode == dns::Rcode::kNxDomain);
  // An ancestor of a grantable name exists, without records.
  CHECK(fixture.Ask("example").rcode == dns::Rcode::kNoError);
}

TEST_CASE("an HTTP flow is intercepted with the name it belongs to") {
  Fixture fixture;
  const auto address = fixture.AddressOf("api.example");
  auto verdict = fixture.Decide(fixture.Flow(Transport::kTcp, address, 443));
  REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
  std::get<AcceptFlow>(verdict).take(nullptr);
  const auto& served = fixture.interceptor.served.at(0);
  CHECK_FALSE(served.refusal);
  CHECK(served.facts.name->text() == "api.example");
  CHECK(served.facts.destination.address == *IpAddress::Parse("11.0.0.80"));
}

TEST_CASE("a raw flow is dialled by name and recorded when it ends") {
  Fixture fixture;
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  CHECK(std::holds_alternative<SpliceFlow>(fixture.Decide(flow)));
  CHECK(fixture.dialer.dialed.back() == "db.example:5432");
  const size_t before = fixture.audit.records.size();
  fixture.gate->OnFlowEnd(
      flow, {.bytes_up = 10, .bytes_down = 20, .duration = std::chrono::microseconds(5)});
  REQUIRE(fixture.audit.records.size() == before + 1);
  CHECK(fixture.Last().allowed);
  CHECK(fixture.Last().name == "db.example");
  CHECK(fixture.Last().bytes_down == 20);
  CHECK(fixture.Last().rule == "policy.lua:3");
  fixture.gate->OnFlowEnd(flow, {});
  CHECK(fixture.audit.records.size() == before + 1);
}

TEST_CASE("pings of a granted name are dialled, and those of others prohibited") {
  Fixture fixture;
  const auto flow = fixture.Flow(Transport::kIcmp, fixture.AddressOf("time.example"), 0);
  CHECK(std::holds_alternative<SpliceFlow>(fixture.Decide(flow)));
  CHECK(fixture.dialer.dialed.back() == "time.example:0");
  fixture.gate->OnFlowEnd(flow, {});
  CHECK(fixture.Last().allowed);
  CHECK(fixture.Last().transport == "icmp");
  CHECK(fixture.Last().rule == "policy.lua:6");

  const auto other = fixture.Flow(Transport::kIcmp, fixture.AddressOf("api.example"), 0);
  CHECK(fixture.Denied(fixture.Decide(other)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kNotGranted);
  CHECK(fixture.Last().how_to_allow == "allow.icmp { host = \"api.example\" }");
}

TEST_CASE("a host that lets nobody ping is said to be the reason") {
  Fixture fixture;
  fixture.dialer.error = Error(Code::kUnsupported, "sysctl -w net.ipv4.ping_group_range=…");
  const auto flow = fixture.Flow(Transport::kIcmp, fixture.AddressOf("time.example"), 0);
  CHECK(fixture.Denied(fixture.Decide(flow)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kUpstreamUnreachable);
  CHECK_FALSE(fixture.Last().allowed);
  CHECK(fixture.Last().detail.find("ping_group_range") != std::string::npos);
}

TEST_CASE("a flow that has carried its rule's bytes ends, and the record says so") {
  Fixture fixture(
      "allow.tcp { host = 'db.example', port = 5432, resolves_to = '10.0.0.0/8', name = 'db',\n"
      "            bytes = { up = '100B' } }");
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  auto verdict = fixture.Decide(flow);
  REQUIRE(std::holds_alternative<SpliceFlow>(verdict));
  auto& meter = std::get<SpliceFlow>(verdict).meter;
  REQUIRE(meter);
  CHECK(meter->Count(100, 5000));
  CHECK_FALSE(meter->Count(1, 0));
  fixture.gate->OnFlowEnd(flow, {.bytes_up = 101, .bytes_down = 5000});
  CHECK_FALSE(fixture.Last().allowed);
  CHECK(fixture.Last().reason == Reason::kBudgetBytes);
  CHECK(fixture.Last().bytes_up == 101);
  CHECK(fixture.Last().rule == "db");
  const auto again = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  CHECK(fixture.Denied(fixture.Decide(again)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kBudgetBytes);
}

TEST_CASE("connections of a rule are refused beyond its count, also while they are dialled") {
  Fixture fixture(
      "allow.tcp { host = 'db.example', port = 5432, resolves_to = '10.0.0.0/8', connections = 1 }");
  const auto address = fixture.AddressOf("db.example");
  const auto first = fixture.Flow(Transport::kTcp, address, 5432);
  {
    const FlowVerdict verdict = fixture.Decide(first);
    REQUIRE(std::holds_alternative<SpliceFlow>(verdict));
    CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 5432))) ==
          DenyFlow::As::kProhibited);
    CHECK(fixture.Last().reason == Reason::kBudgetConnections);
    fixture.gate->OnFlowEnd(first, {});
  }
  CHECK(std::holds_alternative<SpliceFlow>(
      fixture.Decide(fixture.Flow(Transport::kTcp, address, 5432))));
}

TEST_CASE("queries are refused beyond the rate of an allow.dns") {
  Fixture fixture(
      "allow.http { host = 'api.example' }\nallow.dns { host = '*.example', rate = '2/h' }");
  CHECK(fixture.Ask("api.example").addresses.size() == 1);
  CHECK(fixture.Ask("api.example").addresses.size() == 1);
  CHECK(fixture.Ask("api.example").rcode == dns::Rcode::kRefused);
  CHECK(fixture.Last().reason == Reason::kBudgetRate);
  CHECK(fixture.resolver.asked.size() <= 2);
}

TEST_CASE("names made up below a wildcard carry no data out") {
  Fixture fixture("allow.http { host = '*.example' }\nallow.http { host = 'api.example' }");
  const std::string data = "mfzwizltomrggzdfmzsq2lbonvxw4ytvor2gk3tfojsxg5djn5xa";
  CHECK(fixture.Ask(data + ".t.example").rcode == dns::Rcode::kRefused);
  CHECK(fixture.Last().reason == Reason::kDnsTunnel);
  CHECK(fixture.resolver.asked.empty());
  size_t refused = 0;
  for (int i = 0; i < 110; ++i) {
    refused += fixture.Ask("n" + std::to_string(i) + ".a.example").rcode == dns::Rcode::kRefused;
  }
  CHECK(refused >= 1);
  CHECK(fixture.resolver.asked.size() <= 110 - refused);
  // A name that a rule has by itself is not made up.
  CHECK(fixture.Ask("api.example").addresses.size() == 1);
}

TEST_CASE("a target that the user wrote is dialled as such") {
  Fixture fixture;
  const auto address = fixture.AddressOf("local.example");
  CHECK(fixture.resolver.asked.empty());
  CHECK(std::holds_alternative<SpliceFlow>(
      fixture.Decide(fixture.Flow(Transport::kTcp, address, 1))));
  CHECK(fixture.dialer.dialed.back() == "127.0.0.1:11434 by the user");
}

TEST_CASE("what can't be dialled looks like it, and says why in the log") {
  Fixture fixture;
  const auto address = fixture.AddressOf("db.example");
  const std::pair<Code, DenyFlow::As> cases[] = {
      {Code::kRefused, DenyFlow::As::kRefused},
      {Code::kUnreachable, DenyFlow::As::kUnreachable},
      {Code::kTimeout, DenyFlow::As::kTimedOut},
      {Code::kAddressRefused, DenyFlow::As::kProhibited}};
  for (const auto& [code, as] : cases) {
    fixture.dialer.error = Error(code, "because");
    CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 5432))) == as);
    CHECK(fixture.Last().detail == "because");
    CHECK_FALSE(fixture.Last().allowed);
  }
}

TEST_CASE(
    "an address without a name needs an ip rule, and a synthetic one without a name is refused") {
  Fixture fixture;
  const auto decide = [&](const char* address, uint16_t port) {
    return fixture.Decide(fixture.Flow(Transport::kTcp, *IpAddress::Parse(address), port));
  };
  CHECK(std::holds_alternative<SpliceFlow>(decide("11.1.2.3", 22)));
  CHECK(fixture.Denied(decide("11.1.2.3", 23)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Denied(decide("1.1.1.1", 443)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kNotGranted);
  CHECK(fixture.Denied(decide("169.254.169.254", 80)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Denied(decide("198.18.77.77", 443)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kUnknownAddress);
  CHECK(fixture.Denied(decide("8.8.8.8", 53)) == DenyFlow::As::kProhibited);
}

TEST_CASE("other ways to ask a resolver are prohibited at once: DoT, DoQ, mDNS, LLMNR, plain DNS") {
  Fixture fixture("allow.http { host = any }\nallow.tcp { host = any, port = 22 }");
  const auto decide = [&](const char* address, uint16_t port, Transport transport) {
    return fixture.Denied(
        fixture.Decide(fixture.Flow(transport, *IpAddress::Parse(address), port)));
  };
  const auto named = fixture.AddressOf("api.example").ToString();
  for (const std::string& server : {std::string("1.1.1.1"), std::string("2606:4700:4700::1111"),
                                    std::string("10.0.2.2"), named}) {
    INFO(server);
    CHECK(decide(server.c_str(), 853, Transport::kTcp) == DenyFlow::As::kProhibited);
    CHECK(decide(server.c_str(), 853, Transport::kUdp) == DenyFlow::As::kProhibited);
  }
  for (const char* server : {"1.1.1.1", "2606:4700:4700::1111"}) {
    CHECK(decide(server, 53, Transport::kTcp) == DenyFlow::As::kProhibited);
    CHECK(decide(server, 53, Transport::kUdp) == DenyFlow::As::kProhibited);
  }
  for (const char* group : {"224.0.0.251", "ff02::fb"}) {
    CHECK(decide(group, 5353, Transport::kUdp) == DenyFlow::As::kProhibited);
  }
  for (const char* group : {"224.0.0.252", "ff02::1:3"}) {
    CHECK(decide(group, 5355, Transport::kUdp) == DenyFlow::As::kProhibited);
  }
  // HTTP/3 to a name whose requests are to be seen, too.
  CHECK(decide(named.c_str(), 443, Transport::kUdp) == DenyFlow::As::kProhibited);
}

TEST_CASE("a datagram to a group leaves a line") {
  Fixture fixture;
  auto flow = fixture.Flow(Transport::kUdp, *IpAddress::Parse("224.0.0.251"), 5353);
  flow.id = 0;
  fixture.gate->OnFlowRefused(flow, netstack::Drop::kNotForUs);
  CHECK(fixture.Last().reason == Reason::kAddressRefused);
  CHECK(fixture.Last().address == IpAddress::Parse("224.0.0.251"));
  CHECK(fixture.Last().port == 5353);
  CHECK_FALSE(fixture.Last().allowed);
}

TEST_CASE("an audit log that can't be written denies everything") {
  Fixture fixture;
  const auto address = fixture.AddressOf("db.example");
  fixture.audit.is_healthy = false;
  CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 5432))) ==
        DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kAuditUnavailable);
  CHECK(fixture.Ask("api.example").rcode == dns::Rcode::kRefused);
  // A named web flow can be told so.
  auto verdict = fixture.Decide(fixture.Flow(Transport::kTcp, address, 443));
  REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
  std::get<AcceptFlow>(verdict).take(nullptr);
  CHECK(fixture.interceptor.served.at(0).refusal->reason == Reason::kAuditUnavailable);
}

TEST_CASE("the gateway's address has a proxy, and nothing else that a rule could open") {
  Fixture fixture(
      "allow.tcp { ip = \"10.0.0.0/8\", port = { 3128, 8080 } }\n"
      "allow.tcp { ip = \"fd00::/8\", port = { 3128, 8080 } }\n"
      "allow.http { host = \"api.example\" }");
  for (const char* gateway : {"10.0.2.2", "fd00:5a11::2"}) {
    INFO(gateway);
    const auto address = *IpAddress::Parse(gateway);
    const size_t before = fixture.audit.records.size();
    CHECK(std::holds_alternative<AcceptFlow>(
        fixture.Decide(fixture.Flow(Transport::kTcp, address, 3128))));
    CHECK(fixture.audit.records.size() == before);
    CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kUdp, address, 3128))) ==
          DenyFlow::As::kProhibited);
    CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 8080))) ==
          DenyFlow::As::kProhibited);
    CHECK(fixture.Last().reason == Reason::kAddressRefused);
  }
  CHECK(fixture.dialer.dialed.empty());
}

TEST_CASE("the proxy port decides like the flow would, and never for the gate itself") {
  Fixture fixture(
      "allow.tcp { ip = \"10.0.0.0/8\", port = { 53, 3128 } }\n"
      "allow.tcp { ip = { \"127.0.0.0/8\", \"0.0.0.0/8\", \"::1/128\" }, port = 3128 }\n"
      "allow.http { host = \"api.example\" }");
  const auto synthetic = fixture.AddressOf("api.example").ToString();
  // As a raw tunnel has no answer from the interceptor, dialling would end the wait as well.
  const auto serve = [&](const std::string& target) {
    auto verdict =
        fixture.Decide(fixture.Flow(Transport::kTcp, *IpAddress::Parse("10.0.2.2"), 3128));
    REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
    auto ends = MemoryStream::Make(*fixture.loop, {});
    std::get<AcceptFlow>(verdict).take(std::move(ends.a));
    const std::string head = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n";
    const size_t before = fixture.interceptor.served.size();
    REQUIRE(ends.b->Write(head) == head.size());
    while (fixture.interceptor.served.size() == before) {
      REQUIRE(fixture.dialer.dialed.empty());
      REQUIRE(*fixture.loop->RunOnce());
    }
    return fixture.interceptor.served.back();
  };
  // By name, and by the address that its lookup gave: the same flow.
  for (const auto& target : {std::string("api.example:443"), synthetic + ":443"}) {
    const auto flow = serve(target);
    CHECK_FALSE(flow.refusal);
    CHECK(flow.facts.name->text() == "api.example");
    CHECK(flow.facts.destination.address == *IpAddress::Parse("11.0.0.80"));
  }
  for (const char* target :
       {"10.0.2.2:3128", "10.0.2.2:53", "[fd00:5a11::2]:3128", "0xa.0.2.2:3128",
        "[::ffff:10.0.2.2]:3128", "127.0.0.1:3128", "0x7f.1:3128", "[::1]:3128",
        "[::ffff:127.0.0.1]:3128", "0.0.0.0:3128", "[::]:3128"}) {
    INFO(target);
    const auto flow = serve(target);
    REQUIRE(flow.refusal);
    CHECK(flow.refusal->reason == Reason::kAddressRefused);
    CHECK(flow.refusal->status == 403);
  }
  CHECK(serve("198.18.77.77:443").refusal->reason == Reason::kUnknownAddress);
  CHECK(serve("evil.example:443").refusal->reason == Reason::kNameNotGranted);
  CHECK(fixture.dialer.dialed.empty());
}

TEST_CASE("a guest that gives up leaves nothing behind") {
  Fixture fixture;
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  for (int turns = 0; turns < 3; ++turns) {
    auto pending = fixture.gate->Decide(flow, [](FlowVerdict) {});
    for (int i = 0; i < turns; ++i) REQUIRE(*fixture.loop->RunOnce());
    pending = {};
  }
  const size_t before = fixture.audit.records.size();
  fixture.gate.reset();
  CHECK(fixture.audit.records.size() <= before + 1);
}

TEST_CASE("flows that are open when the sandbox ends are recorded") {
  Fixture fixture;
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  CHECK(std::holds_alternative<SpliceFlow>(fixture.Decide(flow)));
  fixture.gate.reset();
  CHECK(fixture.Last().detail == "the sandbox ended");
  CHECK(fixture.Last().allowed);
}

TEST_CASE("a failing resolver is SERVFAIL, a name that does not exist NXDOMAIN") {
  Fixture fixture("allow.http { host = \"*.example\" }");
  fixture.resolver.SetError("slow.example", Error(Code::kTimeout, "no resolver answered"));
  CHECK(fixture.Ask("slow.example").rcode == dns::Rcode::kServFail);
  CHECK(fixture.Last().reason == Reason::kResolverFailed);
  CHECK(fixture.Ask("gone.example").rcode == dns::Rcode::kNxDomain);
  CHECK(fixture.Last().reason == Reason::kNameNotFound);
}

/// A gate whose policy can be replaced.
constexpr const char* kReal = R"(
dns { answers = "real", families = "both" }
allow.http { host = { "api.example", "web.example" } }
allow.tcp { host = "db.example", port = 5432, resolves_to = "10.0.0.0/8" }
allow.tcp { host = "local.example", port = 1, to = "127.0.0.1:11434" }
allow.tcp { ip = "11.1.0.0/16", port = 22 }
)";

std::vector<std::string> Texts(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> texts;
  for (const IpAddress& address : addresses) texts.push_back(address.ToString());
  return texts;
}

TEST_CASE("real answers are the addresses that the policy admits, and no other") {
  Fixture fixture(kReal);
  fixture.resolver.Set("api.example",
                       {*IpAddress::Parse("11.0.0.80"), *IpAddress::Parse("2600:11::80"),
                        *IpAddress::Parse("10.0.0.9"), *IpAddress::Parse("127.0.0.1"),
                        *IpAddress::Parse("169.254.169.254"), *IpAddress::Parse("198.18.0.7"),
                        *IpAddress::Parse("11.0.0.81")});
  CHECK(Texts(fixture.Ask("api.example").addresses) ==
        std::vector<std::string>{"11.0.0.80", "11.0.0.81"});
  CHECK(Texts(fixture.Ask("api.example", dns::kTypeAaaa).addresses) ==
        std::vector<std::string>{"2600:11::80"});
  CHECK(fixture.Ask("api.example").ttl <= 30);
  // What the rules admit besides; but never what means the gate itself to the guest.
  fixture.resolver.Set("db.example", {*IpAddress::Parse("10.0.2.2"), *IpAddress::Parse("10.0.0.5")});
  CHECK(Texts(fixture.Ask("db.example").addresses) == std::vector<std::string>{"10.0.0.5"});
  CHECK(fixture.Ask("db.example", dns::kTypeAaaa).addresses.empty());
  // A name without an address that it could have gets a synthetic one, where the reason is told.
  const Prefix synthetic = *Prefix::Parse("198.18.0.0/15");
  fixture.resolver.Set("web.example", {*IpAddress::Parse("10.0.0.9")});
  CHECK(synthetic.Contains(fixture.AddressOf("web.example")));
  CHECK(synthetic.Contains(fixture.AddressOf("local.example")));
  CHECK(synthetic.Contains(fixture.AddressOf("evil.example")));
}

TEST_CASE("a callback that grants a name says which kind of answer it has") {
  const std::string callback = R"(on.connect(function(conn)
    local q = conn:match_dns "*.real.example"
    if q then return q:accept { answers = "real" } end
    q = conn:match_dns "*.own.example"
    if q then return q:accept { answers = "synthetic" } end
    q = conn:match_dns "*.other.example"
    if q then return q:accept() end
    if conn.transport == "tcp" and conn.host == "a.real.example" then conn:accept() end
  end))";
  const Prefix synthetic = *Prefix::Parse("198.18.0.0/15");
  const IpAddress address = *IpAddress::Parse("11.0.0.80");
  for (const bool real : {false, true}) {
    INFO(real);
    Fixture fixture((real ? "dns { answers = 'real' }\n" : "") + callback);
    for (const char* name : {"a.real.example", "a.own.example", "a.other.example"}) {
      fixture.resolver.Set(name, {address});
    }
    CHECK(fixture.AddressOf("a.real.example") == address);
    CHECK(synthetic.Contains(fixture.AddressOf("a.own.example")));
    CHECK(synthetic.Contains(fixture.AddressOf("a.other.example")) == !real);
    if (real) continue;
    // The address belongs to the name that was told it, as with `dns { answers = "real" }`.
    CHECK(std::holds_alternative<SpliceFlow>(
        fixture.Decide(fixture.Flow(Transport::kTcp, address, 22))));
    CHECK(fixture.Denied(fixture.Decide(
              fixture.Flow(Transport::kTcp, *IpAddress::Parse("11.0.0.81"), 22))) ==
          DenyFlow::As::kProhibited);
  }
}

TEST_CASE("a name with IPv6 addresses alone stays within reach of a guest without") {
  Fixture fixture("dns { answers = 'real' }\nallow.http { host = 'six.example' }");
  fixture.resolver.Set("six.example", {*IpAddress::Parse("2600:11::80")});
  CHECK(Prefix::Parse("198.18.0.0/15")->Contains(fixture.AddressOf("six.example")));
  CHECK(fixture.Ask("six.example", dns::kTypeAaaa).addresses.empty());
}

TEST_CASE("a connection to a real address belongs to the one name that was told it") {
  Fixture fixture(kReal);
  const IpAddress address = *IpAddress::Parse("11.0.0.80");
  // Nobody was told it yet.
  CHECK(fixture.Denied(fixture.Decide(fixture.Flow(Transport::kTcp, address, 443))) ==
        DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kNotGranted);
  CHECK(fixture.AddressOf("api.example") == address);
  auto verdict = fixture.Decide(fixture.Flow(Transport::kTcp, address, 443));
  REQUIRE(std::holds_alternative<AcceptFlow>(verdict));
  std::get<AcceptFlow>(verdict).take(nullptr);
  REQUIRE(fixture.interceptor.served.size() == 1);
  CHECK(fixture.interceptor.served[0].facts.name->text() == "api.example");
  CHECK_FALSE(fixture.interceptor.served[0].refusal);

  const auto database = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  CHECK(std::holds_alternative<SpliceFlow>(fixture.Decide(database)));
  CHECK(fixture.dialer.dialed.back() == "db.example:5432");
  // A rule for addresses does not speak of one that belongs to a name.
  fixture.resolver.Set("web.example", {*IpAddress::Parse("11.1.0.1")});
  const auto web = fixture.Flow(Transport::kTcp, fixture.AddressOf("web.example"), 22);
  CHECK(fixture.Denied(fixture.Decide(web)) == DenyFlow::As::kProhibited);
}

TEST_CASE("at an address of several names HTTP is accepted, to see which is meant; nothing else is") {
  Fixture fixture(kReal);
  fixture.resolver.Set("web.example", {*IpAddress::Parse("11.0.0.80")});
  fixture.resolver.Set("db.example", {*IpAddress::Parse("11.0.0.80")});
  const IpAddress address = fixture.AddressOf("api.example");
  CHECK(fixture.AddressOf("web.example") == address);
  CHECK(fixture.AddressOf("db.example") == address);
  for (const uint16_t port : std::initializer_list<uint16_t>{80, 443}) {
    CHECK(std::holds_alternative<AcceptFlow>(
        fixture.Decide(fixture.Flow(Transport::kTcp, address, port))));
  }
  CHECK(fixture.interceptor.served.empty());
  for (const auto& [transport, port] :
       {std::pair(Transport::kTcp, 5432), std::pair(Transport::kTcp, 22),
        std::pair(Transport::kUdp, 443), std::pair(Transport::kIcmp, 0)}) {
    const auto flow = fixture.Flow(transport, address, static_cast<uint16_t>(port));
    CHECK(fixture.Denied(fixture.Decide(flow)) == DenyFlow::As::kProhibited);
    CHECK(fixture.Last().reason == Reason::kUnknownAddress);
    CHECK(fixture.Last().detail.find("db.example, web.example, api.example") != std::string::npos);
  }
  CHECK(fixture.dialer.dialed.empty());
}

constexpr const char* kChain = R"(
on.connect(function(conn)
  local query = conn:match_dns "*.example"
  if query then
    for _, alias in ipairs(query.chain) do
      if alias:sub(-8) ~= ".example" then return conn:deny("an alias of " .. alias) end
    end
    if query.type == "A" then query:accept() end
  end
end)
)";

TEST_CASE("a callback sees the aliases of a name, and can refuse it for them") {
  Fixture fixture(kChain);
  const auto address = *IpAddress::Parse("11.0.0.80");
  fixture.resolver.Set("plain.example", {address});
  fixture.resolver.Set("within.example", {address}, {*HostName::Parse("cdn.example")});
  fixture.resolver.Set("cloaked.example", {address},
                       {*HostName::Parse("cdn.example"), *HostName::Parse("tracker.test")});
  CHECK(fixture.Ask("plain.example").addresses.size() == 1);
  CHECK(fixture.Ask("within.example").addresses.size() == 1);
  const auto cloaked = fixture.Ask("cloaked.example");
  CHECK(cloaked.addresses.empty());
  CHECK(cloaked.rcode == dns::Rcode::kRefused);
  CHECK(fixture.Last().reason == Reason::kDeniedByHook);
  CHECK(fixture.Last().detail.find("tracker.test") != std::string::npos);
  // The callback grants no other type.
  CHECK(fixture.Ask("plain.example", uint16_t{16}).addresses.empty());
  CHECK(fixture.Last().reason == Reason::kNameNotGranted);
}

struct Reloading : Fixture {
  Reloading() {
    live = std::make_unique<policy::LiveEngine>(std::move(engine));
    gate.emplace(Gate::Services{*loop, *live, resolver, dialer, interceptor, audit, waits});
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
