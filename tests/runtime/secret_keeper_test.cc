#include "runtime/warden/secret_keeper.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

using namespace std::chrono_literals;
using Renewable = SecretKeeper::Renewable;

/// A keeper of secrets A (0) and B (1), whose broker is the test.
struct Bench {
  Bench()
      : loop(*Loop::Create()),
        keeper(*loop, store, [this](uint16_t secret) { asked.push_back(secret); }) {
    for (const char* name : {"A", "B"}) {
      SecretSpec spec;
      spec.name = name;
      spec.hosts = {*HostPattern::Parse("api.test")};
      REQUIRE(store.Add(spec, *secrets::Secret::Create(std::string("first-value-of-") + name)));
    }
  }

  void Answer(uint16_t secret, const std::string& value,
              std::optional<std::chrono::milliseconds> lifetime = {}) {
    BrokerAnswer answer;
    answer.kind = BrokerAnswer::Kind::kValue;
    answer.secret = secret;
    answer.lifetime = lifetime;
    answer.bytes.text = value;
    keeper.OnAnswer(std::move(answer));
  }
  void Refuse(uint16_t secret, const std::string& why) {
    BrokerAnswer answer;
    answer.secret = secret;
    answer.bytes.text = why;
    keeper.OnAnswer(std::move(answer));
  }
  void RunUntil(const std::function<bool()>& done) {
    bool late = false;
    const auto deadline = loop->After(60s, [&late] { late = true; });
    while (!done()) {
      REQUIRE_FALSE(late);
      REQUIRE(loop->RunOnce());
    }
  }
  /// What a request with NAME's placeholder would carry, or why it is refused.
  std::string Use(const std::string& name) {
    RequestHead head{.method = "GET",
                     .scheme = "https",
                     .authority = "api.test",
                     .path = "/",
                     .query = {},
                     .headers = {}};
    head.headers.Add("authorization", "Bearer " + *store.PlaceholderOf(name));
    const secrets::RequestTarget target{
        .host = *HostName::Parse("api.test"), .port = 443, .encrypted = true};
    const auto examined = store.Examine(target, head);
    if (examined.refusal) return "(" + examined.refusal->detail + ")";
    store.Substitute(target, head);
    return head.headers.Find("authorization")->substr(7);
  }

  std::unique_ptr<Loop> loop;
  secrets::Store store;
  std::vector<uint16_t> asked;
  SecretKeeper keeper;
};

TEST_CASE(
    "a value is asked for before it ends, once, and replaced without a change of placeholder") {
  Bench bench;
  const std::string placeholder = *bench.store.PlaceholderOf("A");
  bench.keeper.Add(0, "A", 50ms, Renewable::kYes);
  bench.RunUntil([&] { return !bench.asked.empty(); });
  CHECK(bench.asked == std::vector<uint16_t>{0});
  bench.Answer(0, "second-value", 50ms);
  CHECK(bench.Use("A") == "second-value");
  CHECK(*bench.store.PlaceholderOf("A") == placeholder);
  bench.RunUntil([&] { return bench.asked.size() == 2; });
}

TEST_CASE("a value without an end is never asked for") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kNo);
  bench.keeper.Add(1, "B", 20ms, Renewable::kYes);
  bench.RunUntil([&] { return !bench.asked.empty(); });
  CHECK(bench.asked == std::vector<uint16_t>{1});
}

TEST_CASE("a failed refresh keeps the value until it ends, then says why, and is tried again") {
  Bench bench;
  bench.keeper.Add(0, "A", 400ms, Renewable::kYes);
  bench.RunUntil([&] { return !bench.asked.empty(); });
  bench.Refuse(0, "the server is on fire");
  CHECK(bench.Use("A") == "first-value-of-A");
  bench.RunUntil([&] { return bench.Use("A").starts_with("("); });
  CHECK(bench.Use("A").find("its value has expired, and the server is on fire") !=
        std::string::npos);
  bench.RunUntil([&] { return bench.asked.size() == 2; });
  bench.Answer(0, "second-value");
  CHECK(bench.Use("A") == "second-value");
}

TEST_CASE("a value that no answer renews is not used beyond its end") {
  Bench bench;
  bench.keeper.Add(0, "A", 20ms, Renewable::kYes);
  bench.RunUntil([&] { return bench.Use("A").starts_with("("); });
  CHECK(bench.asked == std::vector<uint16_t>{0});  // One question is on its way: no other.
}

TEST_CASE("a value that can't be used is a failed refresh") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kYes);
  bool renewed = true;
  bool told = false;
  const Pending pending = bench.keeper.Renew({"A"}, [&](bool yes) {
    renewed = yes;
    told = true;
  });
  REQUIRE(bench.asked.size() == 1);
  bench.Answer(0, "two\nlines");
  bench.RunUntil([&] { return told; });
  CHECK_FALSE(renewed);
  CHECK(bench.Use("A") == "first-value-of-A");
}

TEST_CASE(
    "after a 401 those secrets that can be renewed are, for all who wait, with one question") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kYes);
  bench.keeper.Add(1, "B", {}, Renewable::kNo);
  std::vector<bool> told;
  const Pending one = bench.keeper.Renew({"A", "B"}, [&](bool yes) { told.push_back(yes); });
  const Pending two = bench.keeper.Renew({"A"}, [&](bool yes) { told.push_back(yes); });
  CHECK(bench.asked == std::vector<uint16_t>{0});
  CHECK(told.empty());
  bench.Answer(0, "second-value");
  CHECK(told.empty());  // Never inside the call.
  bench.RunUntil([&] { return told.size() == 2; });
  CHECK(told == std::vector<bool>{true, true});
}

TEST_CASE("a second 401 soon after asks nobody") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kYes);
  std::vector<bool> told;
  const Pending one = bench.keeper.Renew({"A"}, [&](bool yes) { told.push_back(yes); });
  bench.Answer(0, "second-value");
  const Pending two = bench.keeper.Renew({"A"}, [&](bool yes) { told.push_back(yes); });
  bench.RunUntil([&] { return told.size() == 2; });
  CHECK(bench.asked.size() == 1);
  CHECK(std::count(told.begin(), told.end(), true) == 1);
}

TEST_CASE("secrets that nobody keeps, or that can't be renewed, are told at once") {
  Bench bench;
  bench.keeper.Add(1, "B", {}, Renewable::kNo);
  bool told = false;
  const Pending pending = bench.keeper.Renew({"B", "UNKNOWN"}, [&](bool yes) { told = !yes; });
  CHECK_FALSE(told);
  bench.RunUntil([&] { return told; });
  CHECK(bench.asked.empty());
}

TEST_CASE("who waits no more is not told, and the value is renewed all the same") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kYes);
  bool told = false;
  {
    const Pending dropped = bench.keeper.Renew({"A"}, [&](bool) { told = true; });
  }
  bench.Answer(0, "second-value");
  const auto turn = bench.loop->Post([] {});
  REQUIRE(bench.loop->RunOnce());
  CHECK_FALSE(told);
  CHECK(bench.Use("A") == "second-value");
}

TEST_CASE("a secret that was revoked is not brought back, by no answer and no 401") {
  Bench bench;
  bench.keeper.Add(0, "A", 20ms, Renewable::kYes);
  bench.RunUntil([&] { return !bench.asked.empty(); });
  std::optional<bool> told;
  const Pending pending = bench.keeper.Renew({"A"}, [&](bool yes) { told = yes; });
  REQUIRE(bench.store.Revoke("A"));
  bench.keeper.Forget("A");
  bench.Answer(0, "second-value");
  bench.RunUntil([&] { return told.has_value(); });
  CHECK(told == false);
  CHECK(bench.Use("A").starts_with("("));
  const Pending again = bench.keeper.Renew({"A"}, [&](bool yes) { told = yes; });
  CHECK(bench.asked.size() == 1);
}

TEST_CASE("what is left of a value's life is known where its end is") {
  Bench bench;
  bench.keeper.Add(0, "A", 1h, Renewable::kYes);
  bench.keeper.Add(1, "B", {}, Renewable::kYes);
  const auto left = bench.keeper.Remaining("A");
  REQUIRE(left);
  CHECK((*left > 0ms && *left <= 1h));
  CHECK_FALSE(bench.keeper.Remaining("B"));
  CHECK_FALSE(bench.keeper.Remaining("UNKNOWN"));
  // An answer without an end takes the place of one with an end.
  const Pending pending = bench.keeper.Renew({"A"}, [](bool) {});
  bench.Answer(0, "second-value");
  CHECK_FALSE(bench.keeper.Remaining("A"));
  bench.keeper.Forget("A");
  CHECK_FALSE(bench.keeper.Remaining("A"));
}

TEST_CASE("nothing is left of the life of a value that has ended") {
  Bench bench;
  bench.keeper.Add(0, "A", 1ms, Renewable::kYes);
  bench.RunUntil([&] { return bench.Use("A").starts_with("("); });
  CHECK(bench.keeper.Remaining("A") == 0ms);
}

TEST_CASE("answers that were not asked for change nothing") {
  Bench bench;
  bench.keeper.Add(0, "A", {}, Renewable::kYes);
  bench.Answer(0, "unasked-value");
  bench.Answer(7, "unknown-value");
  CHECK(bench.Use("A") == "first-value-of-A");
}

}  // namespace
}  // namespace sallyport::runtime
