#include "runtime/dial/ares_resolver.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>

#include "tests/fakes/dns_server.h"
#include "tests/fakes/manual_clock.h"

namespace sallyport::runtime {
namespace {

using namespace std::chrono_literals;
namespace dns = policy::dns;

IpAddress Address(const char* text) { return *IpAddress::Parse(text); }
HostName Name(const char* text) { return *HostName::Parse(text); }

dns::Answer Table(const dns::Query& query) {
  dns::Answer answer;
  answer.ttl = 60;
  if (query.name == "both.example") answer.addresses = {Address("11.0.0.1"), Address("2600::1")};
  else if (query.name == "four.example") answer.addresses = {Address("11.0.0.4")};
  else if (query.name == "many.example") answer.addresses.assign(100, Address("11.0.0.9"));
  else if (query.name == "broken.example") answer.rcode = dns::Rcode::kServFail;
  else if (query.name != "empty.example") answer.rcode = dns::Rcode::kNxDomain;
  return answer;
}

struct Fixture {
  std::unique_ptr<Loop> loop = *Loop::Create();
  DnsServer server{*loop, Table};
  std::unique_ptr<Resolver> resolver = *NewAresResolver(*loop, {server.endpoint()});

  Result<ResolvedName> Resolve(const char* name) {
    std::optional<Result<ResolvedName>> result;
    auto pending = resolver->Resolve(Name(name), [&](Result<ResolvedName> got) { result = std::move(got); });
    CHECK_FALSE(result);
    bool late = false;
    auto deadline = loop->After(20s, [&] { late = true; });
    while (!result && !late) REQUIRE(*loop->RunOnce());
    REQUIRE_FALSE(late);
    return *std::move(result);
  }
};

TEST_CASE("both families are asked, and the addresses take turns") {
  Fixture fixture;
  const auto resolved = fixture.Resolve("both.example");
  REQUIRE(resolved);
  CHECK(resolved->addresses == std::vector<IpAddress>{Address("11.0.0.1"), Address("2600::1")});
  std::sort(fixture.server.asked.begin(), fixture.server.asked.end());
  CHECK(fixture.server.asked == std::vector<std::string>{"both.example A", "both.example AAAA"});
}

TEST_CASE("an answer is kept while its TTL lasts, and so is a failure for a moment") {
  Fixture fixture;
  CHECK(fixture.resolver->Cached(Name("four.example")) == nullptr);
  REQUIRE(fixture.Resolve("four.example"));
  REQUIRE(fixture.Resolve("four.example"));
  CHECK(fixture.server.asked.size() == 2);
  REQUIRE(fixture.resolver->Cached(Name("four.example")) != nullptr);
  CHECK(fixture.Resolve("none.example").error().code() == Code::kNotFound);
  CHECK(fixture.Resolve("none.example").error().code() == Code::kNotFound);
  CHECK(fixture.server.asked.size() == 4);
  CHECK(fixture.resolver->Cached(Name("none.example")) == nullptr);
}

TEST_CASE("a name without addresses, and one that the server fails on, are told apart") {
  Fixture fixture;
  CHECK(fixture.Resolve("empty.example").error().code() == Code::kNotFound);
  CHECK(fixture.Resolve("broken.example").error().code() == Code::kUnreachable);
}

TEST_CASE("a truncated answer is asked for again over TCP") {
  Fixture fixture;
  fixture.server.udp_limit = 512;
  const auto resolved = fixture.Resolve("many.example");
  REQUIRE(resolved);
  CHECK(resolved->addresses.size() == 100);
  CHECK(std::count(fixture.server.asked.begin(), fixture.server.asked.end(), "many.example A tcp") == 1);
}

TEST_CASE("equal questions under way are asked once, and each asker is answered") {
  Fixture fixture;
  int answered = 0;
  auto first = fixture.resolver->Resolve(Name("four.example"), [&](Result<ResolvedName>) { ++answered; });
  auto second = fixture.resolver->Resolve(Name("four.example"), [&](Result<ResolvedName>) { ++answered; });
  auto third = fixture.resolver->Resolve(Name("four.example"), [&](Result<ResolvedName>) { answered += 100; });
  third = {};
  while (answered < 2) REQUIRE(*fixture.loop->RunOnce());
  CHECK(answered == 2);
  CHECK(fixture.server.asked.size() == 2);
}

TEST_CASE("an asker may give up, or ask again, inside another's answer") {
  Fixture fixture;
  Pending other;
  bool other_called = false;
  bool again = false;
  Pending next;
  auto first = fixture.resolver->Resolve(Name("four.example"), [&](Result<ResolvedName>) {
    other = {};
    next = fixture.resolver->Resolve(Name("both.example"), [&](Result<ResolvedName>) { again = true; });
  });
  other = fixture.resolver->Resolve(Name("four.example"), [&](Result<ResolvedName>) { other_called = true; });
  while (!again) REQUIRE(*fixture.loop->RunOnce());
  CHECK_FALSE(other_called);
}

TEST_CASE("the next server is asked when one is not there") {
  auto loop = *Loop::Create();
  Endpoint gone;
  { gone = DnsServer(*loop, Table).endpoint(); }
  DnsServer server(*loop, Table);
  const auto resolver = *NewAresResolver(*loop, {gone, server.endpoint()});
  std::optional<Result<ResolvedName>> result;
  auto pending = resolver->Resolve(Name("four.example"), [&](Result<ResolvedName> got) { result = std::move(got); });
  while (!result) REQUIRE(*loop->RunOnce());
  CHECK(result->has_value());
}

TEST_CASE("without a server, or with one that is silent, the asker is told so") {
  auto loop = *Loop::Create();
  const auto nobody = *NewAresResolver(*loop, {});
  std::optional<Result<ResolvedName>> result;
  auto pending = nobody->Resolve(Name("four.example"), [&](Result<ResolvedName> got) { result = std::move(got); });
  while (!result) REQUIRE(*loop->RunOnce());
  CHECK(result->error().code() == Code::kUnreachable);
  Fixture fixture;
  fixture.server.silent = true;
  CHECK(fixture.Resolve("four.example").error().code() == Code::kTimeout);
}

TEST_CASE("what was known last is used for an hour while no resolver can answer") {
  ManualClock clock;
  const auto loop = *Loop::Create(&clock);
  dns::Rcode rcode = dns::Rcode::kNoError;
  DnsServer server(*loop, [&rcode](const dns::Query& query) {
    dns::Answer answer = Table(query);
    if (rcode == dns::Rcode::kNoError) return answer;
    answer = {};
    answer.rcode = rcode;
    return answer;
  });
  const auto resolver = *NewAresResolver(*loop, {server.endpoint()});
  const auto resolve = [&] {
    REQUIRE(loop->RunOnce());  // It takes the time at the beginning of a turn.
    std::optional<Result<ResolvedName>> result;
    auto pending = resolver->Resolve(
        Name("four.example"), [&](Result<ResolvedName> got) { result = std::move(got); });
    for (int turns = 0; !result && turns < 20'000; ++turns) {
      REQUIRE(loop->RunOnce());
      clock.Advance(1ms);
    }
    REQUIRE(result);
    return *std::move(result);
  };
  REQUIRE(resolve());
  rcode = dns::Rcode::kServFail;
  clock.Advance(61s);
  REQUIRE(loop->RunOnce());
  CHECK(resolver->Cached(Name("four.example")) == nullptr);
  const auto stale = resolve();
  REQUIRE(stale);
  CHECK(stale->addresses == std::vector<IpAddress>{Address("11.0.0.4")});
  CHECK(stale->expires <= clock.Now() + 30s);
  const size_t asked = server.asked.size();
  REQUIRE(resolve());  // Not asked again for half a minute.
  CHECK(server.asked.size() == asked);
  clock.Advance(61min);
  REQUIRE(loop->RunOnce());
  CHECK(resolve().error().code() == Code::kUnreachable);
  // That a name does not exist is an answer.
  rcode = dns::Rcode::kNoError;
  clock.Advance(1min);
  REQUIRE(resolve());
  rcode = dns::Rcode::kNxDomain;
  clock.Advance(61s);
  CHECK(resolve().error().code() == Code::kNotFound);
}

TEST_CASE("a resolver may go while it waits") {
  auto loop = *Loop::Create();
  DnsServer server(*loop, Table);
  for (int turns = 0; turns < 6; ++turns) {
    auto resolver = *NewAresResolver(*loop, {server.endpoint()});
    auto pending = resolver->Resolve(Name("both.example"), [](Result<ResolvedName>) {});
    for (int i = 0; i < turns; ++i) {
      auto tick = loop->After(20ms, [] {});  // Nothing may be left to wait for.
      REQUIRE(*loop->RunOnce());
    }
    pending = {};
    resolver.reset();
  }
}

}  // namespace
}  // namespace sallyport::runtime
