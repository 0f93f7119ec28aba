#include "runtime/warden/gate.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "policy/dns_records.h"
#include "tests/fakes/memory_stream.h"
#include "tests/runtime/gate_fixture.h"

namespace sallyport::runtime {
namespace {

namespace dns = policy::dns;
using netstack::AcceptFlow;
using netstack::DenyFlow;
using netstack::FlowVerdict;
using netstack::SpliceFlow;

TEST_CASE("an HTTP flow is intercepted with the name it belongs to") {
  GateFixture fixture;
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
  GateFixture fixture;
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
  GateFixture fixture;
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
  GateFixture fixture;
  fixture.dialer.error = Error(Code::kUnsupported, "sysctl -w net.ipv4.ping_group_range=…");
  const auto flow = fixture.Flow(Transport::kIcmp, fixture.AddressOf("time.example"), 0);
  CHECK(fixture.Denied(fixture.Decide(flow)) == DenyFlow::As::kProhibited);
  CHECK(fixture.Last().reason == Reason::kUpstreamUnreachable);
  CHECK_FALSE(fixture.Last().allowed);
  CHECK(fixture.Last().detail.find("ping_group_range") != std::string::npos);
}

TEST_CASE("a flow that has carried its rule's bytes ends, and the record says so") {
  GateFixture fixture(
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
  GateFixture fixture(
      "allow.tcp { host = 'db.example', port = 5432, resolves_to = '10.0.0.0/8',\n"
      "            connections = 1 }");
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

TEST_CASE("a target that the user wrote is dialled as such") {
  GateFixture fixture;
  const auto address = fixture.AddressOf("local.example");
  CHECK(fixture.resolver.asked.empty());
  CHECK(std::holds_alternative<SpliceFlow>(
      fixture.Decide(fixture.Flow(Transport::kTcp, address, 1))));
  CHECK(fixture.dialer.dialed.back() == "127.0.0.1:11434 by the user");
}

TEST_CASE("what can't be dialled looks like it, and says why in the log") {
  GateFixture fixture;
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
  GateFixture fixture;
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
  GateFixture fixture("allow.http { host = any }\nallow.tcp { host = any, port = 22 }");
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
  GateFixture fixture;
  auto flow = fixture.Flow(Transport::kUdp, *IpAddress::Parse("224.0.0.251"), 5353);
  flow.id = 0;
  fixture.gate->OnFlowRefused(flow, netstack::Drop::kNotForUs);
  CHECK(fixture.Last().reason == Reason::kAddressRefused);
  CHECK(fixture.Last().address == IpAddress::Parse("224.0.0.251"));
  CHECK(fixture.Last().port == 5353);
  CHECK_FALSE(fixture.Last().allowed);
}

TEST_CASE("an audit log that can't be written denies everything") {
  GateFixture fixture;
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
  GateFixture fixture(
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
  GateFixture fixture(
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
  GateFixture fixture;
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
  GateFixture fixture;
  const auto flow = fixture.Flow(Transport::kTcp, fixture.AddressOf("db.example"), 5432);
  CHECK(std::holds_alternative<SpliceFlow>(fixture.Decide(flow)));
  fixture.gate.reset();
  CHECK(fixture.Last().detail == "the sandbox ended");
  CHECK(fixture.Last().allowed);
}

}  // namespace
}  // namespace sallyport::runtime
