#include "runtime/warden/gate.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "policy/dns_records.h"
#include "tests/runtime/gate_fixture.h"

namespace sallyport::runtime {
namespace {

namespace dns = policy::dns;
using netstack::AcceptFlow;
using netstack::DenyFlow;
using netstack::SpliceFlow;

TEST_CASE("a granted name gets one synthetic address, the same each time") {
  GateFixture fixture;
  const auto address = fixture.AddressOf("api.example");
  CHECK(Prefix::Parse("198.18.0.0/15")->Contains(address));
  CHECK(fixture.AddressOf("api.example") == address);
  CHECK(fixture.AddressOf("db.example") != address);
  CHECK(fixture.Ask("api.example", dns::kTypeAaaa).addresses.empty());
  CHECK(fixture.Ask("api.example", dns::kTypeHttps).rcode == dns::Rcode::kNoError);
}

TEST_CASE("a name that no rule can use is asked of nobody, whatever the type") {
  GateFixture fixture;
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
  GateFixture fixture(kTypes);
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
  GateFixture fixture(kTypes);
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
  GateFixture fixture(kTypes);
  const std::string host = "\x04host\x07" "example" + std::string(1, '\0');
  fixture.resolver.SetRecords("4.3.2.11.in-addr.arpa", kPtr, RecordsOf({host}));
  CHECK(fixture.AskRecords("4.3.2.11.in-addr.arpa", kPtr).data == std::vector<std::string>{host});
  fixture.resolver.asked.clear();
  CHECK(fixture.AskRecords("1.0.0.10.in-addr.arpa", kPtr).data.empty());
  CHECK(fixture.Last().reason == Reason::kAddressRefused);
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("records that are too many for a datagram are cut, for the guest to ask over TCP") {
  GateFixture fixture(kTypes);
  const std::string text = "\xff" + std::string(255, 'x');
  fixture.resolver.SetRecords("mail.example", kTxt, RecordsOf({text, text, text, text, text}));
  CHECK(fixture.AskRecords("mail.example", kTxt).truncated);
}

TEST_CASE("an unlisted name is told so over HTTP, and reset elsewhere") {
  GateFixture fixture;
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
  GateFixture fixture("dns { unlisted = \"nxdomain\" }\nallow.http { host = \"api.example\" }");
  CHECK(fixture.Ask("evil.example").rcode == dns::Rcode::kNxDomain);
  // An ancestor of a grantable name exists, without records.
  CHECK(fixture.Ask("example").rcode == dns::Rcode::kNoError);
}

TEST_CASE("queries are refused beyond the rate of an allow.dns") {
  GateFixture fixture(
      "allow.http { host = 'api.example' }\nallow.dns { host = '*.example', rate = '2/h' }");
  CHECK(fixture.Ask("api.example").addresses.size() == 1);
  CHECK(fixture.Ask("api.example").addresses.size() == 1);
  CHECK(fixture.Ask("api.example").rcode == dns::Rcode::kRefused);
  CHECK(fixture.Last().reason == Reason::kBudgetRate);
  CHECK(fixture.resolver.asked.size() <= 2);
}

TEST_CASE("names made up below a wildcard carry no data out") {
  GateFixture fixture("allow.http { host = '*.example' }\nallow.http { host = 'api.example' }");
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

TEST_CASE("a failing resolver is SERVFAIL, a name that does not exist NXDOMAIN") {
  GateFixture fixture("allow.http { host = \"*.example\" }");
  fixture.resolver.SetError("slow.example", Error(Code::kTimeout, "no resolver answered"));
  CHECK(fixture.Ask("slow.example").rcode == dns::Rcode::kServFail);
  CHECK(fixture.Last().reason == Reason::kResolverFailed);
  CHECK(fixture.Ask("gone.example").rcode == dns::Rcode::kNxDomain);
  CHECK(fixture.Last().reason == Reason::kNameNotFound);
}

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
  GateFixture fixture(kReal);
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
  fixture.resolver.Set("db.example",
                       {*IpAddress::Parse("10.0.2.2"), *IpAddress::Parse("10.0.0.5")});
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
    const std::string policy = (real ? "dns { answers = 'real' }\n" : "") + callback;
    GateFixture fixture(policy.c_str());
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

TEST_CASE("a callback that grants a name says who is asked about it, also when it is dialled") {
  GateFixture fixture(R"(on.connect(function(conn)
    local q = conn:match_dns "*.corp.example"
    if q and q.type ~= "MX" then
      return q:accept { resolvers = { "10.0.0.53" }, types = { "TXT" }, resolves_to = "10.0.0.0/8" }
    end
    q = conn:match_dns "*.web.example"
    if q then return q:accept() end
    local flow = conn:match_tcp { host = "*.corp.example", port = 443, resolves_to = "10.0.0.0/8" }
    if flow then return flow:accept() end
  end))");
  fixture.resolver.Set("a.corp.example", {*IpAddress::Parse("11.0.0.1")});
  fixture.resolver.Set("a.web.example", {*IpAddress::Parse("11.0.0.2")});
  // Nothing is known there yet: made when the first name needs it.
  CHECK(fixture.Ask("b.corp.example").addresses.empty());
  REQUIRE(fixture.others.count("10.0.0.53:53") == 1);
  FakeResolver& corp = *fixture.others["10.0.0.53:53"];
  corp.Set("a.corp.example", {*IpAddress::Parse("10.0.0.7")});
  corp.SetRecords("a.corp.example", 16, ResolvedRecords{{"\x05hello"}, {}, {}});
  const IpAddress address = fixture.AddressOf("a.corp.example");
  fixture.AddressOf("a.web.example");
  CHECK(fixture.AskRecords("a.corp.example", 16).data.size() == 1);
  CHECK(fixture.resolver.asked == std::vector<std::string>{"a.web.example"});
  CHECK(corp.asked ==
        std::vector<std::string>{"b.corp.example", "a.corp.example", "a.corp.example TYPE16"});
  // The dialler's resolver, and what the policy sees of the flow.
  CHECK(fixture.split.Cached(*HostName::Parse("a.corp.example"))->addresses.front().ToString() ==
        "10.0.0.7");
  CHECK(std::holds_alternative<SpliceFlow>(
      fixture.Decide(fixture.Flow(Transport::kTcp, address, 443))));
}

TEST_CASE("too many lists of resolvers are an error that the guest can read") {
  GateFixture fixture(R"(on.connect(function(conn)
    local q = conn:match_dns()
    if q then q:accept { resolvers = { "10.0.0." .. q.name:match("%d+") } } end
  end))");
  for (size_t i = 0; i < SplitResolver::kMaxLists; ++i) {
    CHECK(fixture.Ask("n" + std::to_string(i) + ".example").rcode == dns::Rcode::kNxDomain);
  }
  CHECK(fixture.Ask("n200.example").rcode == dns::Rcode::kServFail);
  CHECK(fixture.Last().reason == Reason::kLimit);
  CHECK(fixture.Ask("n1.example").rcode == dns::Rcode::kNxDomain);
  CHECK(fixture.resolver.asked.empty());
}

TEST_CASE("a name with IPv6 addresses alone stays within reach of a guest without") {
  GateFixture fixture("dns { answers = 'real' }\nallow.http { host = 'six.example' }");
  fixture.resolver.Set("six.example", {*IpAddress::Parse("2600:11::80")});
  CHECK(Prefix::Parse("198.18.0.0/15")->Contains(fixture.AddressOf("six.example")));
  CHECK(fixture.Ask("six.example", dns::kTypeAaaa).addresses.empty());
}

TEST_CASE("a connection to a real address belongs to the one name that was told it") {
  GateFixture fixture(kReal);
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

TEST_CASE(
    "at an address of several names HTTP is accepted, to see which is meant; nothing else is") {
  GateFixture fixture(kReal);
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
  GateFixture fixture(kChain);
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

}  // namespace
}  // namespace sallyport::runtime
