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

dns::Answer RecordTable(const dns::Query& query) {
  dns::Answer answer = Table(query);
  if (query.type == dns::kTypeA || query.type == dns::kTypeAaaa) return answer;
  answer.ttl = 60;
  if (query.name == "text.example" || query.name == "twice.example") {
    answer.rcode = dns::Rcode::kNoError;
    if (query.type == 16) answer.records = {"\x05hello"};
  } else if (query.name == "long.example") {
    answer.rcode = dns::Rcode::kNoError;
    answer.records.assign(8, "\xff" + std::string(255, 'x'));
  } else if (query.name == "malformed.example") {
    answer.rcode = dns::Rcode::kNoError;
    answer.records = {"x"};
  }
  return answer;
}

struct Fixture {
  std::unique_ptr<Loop> loop = *Loop::Create();
  DnsServer server{*loop, RecordTable};
  std::unique_ptr<Resolver> resolver = *NewAresResolver(*loop, {server.endpoint()});

  Result<ResolvedName> Resolve(const char* name) {
    std::optional<Result<ResolvedName>> result;
    auto pending = resolver->Resolve(Name(name), [&](Result<ResolvedName> got) { result = std::move(got); });
    return Await(result);
  }
  Result<ResolvedRecords> Records(const char* name, uint16_t type) {
    std::optional<Result<ResolvedRecords>> result;
    auto pending = resolver->ResolveRecords(Name(name), type, [&](auto got) { result = std::move(got); });
    return Await(result);
  }
  template <class T>
  Result<T> Await(std::optional<Result<T>>& result) {
    CHECK_FALSE(result);
    bool late = false;
    auto deadline = loop->After(20s, [&] { late = true; });
    while (!result && !late) REQUIRE(*loop->RunOnce());
    REQUIRE_FALSE(late);
    return *std::move(result);
  }
};

constexpr uint16_t kTxt = 16, kMx = 15;

TEST_CASE("records are asked for once at a time, kept while their TTL lasts, and by TCP if need be") {
  Fixture fixture;
  const auto text = fixture.Records("text.example", kTxt);
  REQUIRE(text);
  CHECK(text->data == std::vector<std::string>{"\x05hello"});
  REQUIRE(fixture.Records("text.example", kTxt));
  CHECK(fixture.server.asked == std::vector<std::string>{"text.example TXT"});
  // None: an answer, too.
  const auto none = fixture.Records("text.example", kMx);
  REQUIRE(none);
  CHECK(none->data.empty());
  fixture.server.asked.clear();
  fixture.server.udp_limit = 1232;
  const auto long_text = fixture.Records("long.example", kTxt);
  REQUIRE(long_text);
  CHECK(long_text->data.size() == 8);
  CHECK(fixture.server.asked ==
        std::vector<std::string>{"long.example TXT", "long.example TXT tcp"});
  fixture.server.asked.clear();
  size_t answers = 0;
  const auto count = [&](const Result<ResolvedRecords>& got) { answers += got.has_value(); };
  auto first = fixture.resolver->ResolveRecords(Name("twice.example"), kTxt, count);
  auto second = fixture.resolver->ResolveRecords(Name("twice.example"), kTxt, count);
  auto dropped = fixture.resolver->ResolveRecords(Name("twice.example"), kTxt, count);
  dropped = {};
  while (answers < 2) REQUIRE(*fixture.loop->RunOnce());
  CHECK(fixture.server.asked == std::vector<std::string>{"twice.example TXT"});
}

TEST_CASE("records of what is not there, and of what can't be read, are errors of their own") {
  Fixture fixture;
  CHECK(fixture.Records("missing.example", kTxt).error().code() == Code::kNotFound);
  CHECK(fixture.Records("broken.example", kTxt).error().code() == Code::kUnreachable);
  CHECK(fixture.Records("malformed.example", kMx).error().code() == Code::kUnreachable);
  const auto nobody = *NewAresResolver(*fixture.loop, {});
  std::optional<Result<ResolvedRecords>> result;
  auto pending = nobody->ResolveRecords(Name("text.example"), kTxt, [&](auto got) { result = got; });
  while (!result) REQUIRE(*fixture.loop->RunOnce());
  CHECK(result->error().code() == Code::kUnreachable);
}

TEST_CASE("a resolver can end while records are asked for") {
  Fixture fixture;
  fixture.server.silent = true;
  bool called = false;
  auto pending = fixture.resolver->ResolveRecords(Name("text.example"), kTxt,
                                                  [&](auto) { called = true; });
  while (fixture.server.asked.empty()) REQUIRE(*fixture.loop->RunOnce());
  pending = {};
  fixture.resolver.reset();
  CHECK_FALSE(called);
}

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

TEST_CASE("who waits for resolvers that don't answer has what was known last, the next one what they say then") {
  ManualClock clock;
  const auto loop = *Loop::Create(&clock);
  const char* address = "11.0.0.4";
  DnsServer server(*loop, [&address](const dns::Query& query) {
    dns::Answer answer;
    answer.ttl = 60;
    if (query.type == dns::kTypeA) answer.addresses = {Address(address)};
    return answer;
  });
  DnsServer other(*loop, Table);
  other.silent = true;
  const auto resolver = *NewAresResolver(*loop, {server.endpoint(), other.endpoint()});
  std::optional<Result<ResolvedName>> result;
  const auto turn = [&] {  // c-ares has a clock of its own, which is the machine's.
    const auto before = std::chrono::steady_clock::now();
    REQUIRE(loop->RunOnce());
    clock.Advance(std::chrono::steady_clock::now() - before);
  };
  auto pending = resolver->Resolve(Name("four.example"), [&](auto got) { result = std::move(got); });
  while (!result) turn();
  REQUIRE(*result);
  result.reset();
  clock.Advance(61s);
  server.silent = true;
  turn();
  const auto began = clock.Now();
  pending = resolver->Resolve(Name("four.example"), [&](auto got) { result = std::move(got); });
  while (!result) turn();
  CHECK(clock.Now() - began < 4s);  // All tries take nine.
  REQUIRE(*result);
  CHECK((*result)->addresses == std::vector<IpAddress>{Address("11.0.0.4")});
  // The other server's time is not over; then it is this one's turn again.
  address = "11.0.0.5";
  server.silent = false;
  server.asked.clear();
  pending = {};
  while (server.asked.empty() && clock.Now() - began < 20s) turn();
  const ResolvedName* known = resolver->Cached(Name("four.example"));
  REQUIRE(known != nullptr);
  while (known->addresses.front() == Address("11.0.0.4") && clock.Now() - began < 20s) turn();
  CHECK(known->addresses.front() == Address("11.0.0.5"));
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
