#include <catch2/catch.hpp>

#include "policy/budget_book.h"
#include "policy/tunnel_guard.h"
#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

using namespace std::chrono_literals;

const Clock::time_point kStart = Clock::time_point() + 1h;

RuleBudgetPtr BudgetOf(std::string fields) {
  Policy policy("allow.tcp { host = 'a.example', name = 'the rule', " + fields + " }");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  REQUIRE(verdict.budget != nullptr);
  return verdict.budget;
}

TEST_CASE("a rate is a bucket that fills evenly") {
  const auto budget = BudgetOf("rate = '4/min'");
  BudgetBook book(nullptr);
  for (int i = 0; i < 4; ++i) CHECK_FALSE(book.Take(budget, kStart));
  const auto refusal = book.Take(budget, kStart + 1s);
  REQUIRE(refusal);
  CHECK(refusal->reason == Reason::kBudgetRate);
  CHECK(refusal->status == 429);
  CHECK(refusal->retry_after == 14s);
  CHECK(refusal->rule == "the rule");
  CHECK_THAT(refusal->detail, Catch::Contains("4 in 60 s") && Catch::Contains("in 14 s"));
  CHECK(book.Take(budget, kStart + 14s));
  CHECK_FALSE(book.Take(budget, kStart + 15s));
  CHECK(book.Take(budget, kStart + 15s));
  for (int i = 0; i < 4; ++i) CHECK_FALSE(book.Take(budget, kStart + 1h));
  CHECK(book.Take(budget, kStart + 1h));
}

TEST_CASE("a use that is refused costs nothing") {
  const auto budget = BudgetOf("rate = '2/s', connections = 1");
  BudgetBook book(nullptr);
  auto first = book.Open(budget, kStart);
  CHECK_FALSE(first.refusal);
  for (int i = 0; i < 5; ++i) {
    const auto refused = book.Open(budget, kStart);
    REQUIRE(refused.refusal);
    CHECK(refused.refusal->reason == Reason::kBudgetConnections);
    CHECK(refused.refusal->retry_after);
  }
  first.spending = {};
  CHECK_FALSE(book.Open(budget, kStart).refusal);
}

TEST_CASE("connections are counted while they are open, wherever they are moved to") {
  const auto budget = BudgetOf("connections = 2");
  BudgetBook book(nullptr);
  auto one = book.Open(budget, kStart);
  auto two = book.Open(budget, kStart);
  Spending moved = std::move(one.spending);
  CHECK(book.Open(budget, kStart).refusal);
  moved = std::move(two.spending);  // Ends the first.
  CHECK_FALSE(book.Open(budget, kStart).refusal);
}

TEST_CASE("bytes are used up over all flows of a rule, each way by itself") {
  const auto budget = BudgetOf("bytes = { up = '100B', down = '1KiB' }");
  BudgetBook book(nullptr);
  auto first = book.Open(budget, kStart);
  auto second = book.Open(budget, kStart);
  CHECK(first.spending.Count(60, 1024));
  CHECK(second.spending.Count(40, 0));
  CHECK_FALSE(second.spending.Count(1, 0));
  REQUIRE(second.spending.why());
  CHECK(second.spending.why()->reason == Reason::kBudgetBytes);
  CHECK_THAT(second.spending.why()->detail, Catch::Contains("100 bytes up"));
  const auto third = book.Open(budget, kStart + 24h);
  REQUIRE(third.refusal);
  CHECK(third.refusal->reason == Reason::kBudgetBytes);
  CHECK(third.refusal->status == 403);
  CHECK_FALSE(third.refusal->retry_after);
}

TEST_CASE("a lifetime is told, and is over once") {
  const auto budget = BudgetOf("lifetime = '10m'");
  BudgetBook book(nullptr);
  auto opened = book.Open(budget, kStart);
  CHECK(opened.spending.lifetime() == 10min);
  opened.spending.OnLifetimeOver();
  REQUIRE(opened.spending.why());
  CHECK(opened.spending.why()->reason == Reason::kBudgetLifetime);
}

TEST_CASE("what the sandbox may spend is spent by all rules together") {
  Policy policy(
      "sandbox { connections = 1, bytes = { up = '10B' } }\n"
      "allow.tcp { host = 'a.example' }\nallow.tcp { host = 'b.example', rate = '5/s' }");
  BudgetBook book(policy.engine().sandbox().budget);
  auto a = book.Open(policy.Flow(Policy::Named("a.example", 22)).budget, kStart);
  CHECK_FALSE(a.refusal);
  const auto of_b = policy.Flow(Policy::Named("b.example", 22)).budget;
  auto b = book.Open(of_b, kStart);
  REQUIRE(b.refusal);
  CHECK(b.refusal->rule == "sandbox");
  CHECK(a.spending.Count(10, 0));
  CHECK_FALSE(a.spending.Count(1, 0));
  a.spending = {};
  b = book.Open(of_b, kStart);
  REQUIRE(b.refusal);
  CHECK(b.refusal->reason == Reason::kBudgetBytes);
}

TEST_CASE("two rules of one name have two budgets") {
  Policy policy(
      "for _, host in ipairs { 'a.example', 'b.example' } do\n"
      "  allow.tcp { host = host, rate = '1/h', name = 'both' }\nend");
  BudgetBook book(nullptr);
  CHECK_FALSE(book.Take(policy.Flow(Policy::Named("a.example", 22)).budget, kStart));
  CHECK_FALSE(book.Take(policy.Flow(Policy::Named("b.example", 22)).budget, kStart));
  CHECK(book.Take(policy.Flow(Policy::Named("a.example", 22)).budget, kStart));
}

TEST_CASE("where nobody counts, what has a budget is refused") {
  CHECK_FALSE(OpenUse(nullptr, nullptr, kStart).refusal);
  CHECK(OpenUse(nullptr, BudgetOf("rate = '1/s'"), kStart).refusal);
}

TEST_CASE("a request has the budget of the rule that grants it, a query that of an allow.dns") {
  Policy policy(
      "allow.http { host = 'a.example', method = 'POST', rate = '1/min' }\n"
      "allow.http { host = 'a.example', rate = '9/min' }\n"
      "allow.dns { host = '*.example', rate = '3/s' }");
  const auto post = policy.Request("a.example", "POST", "/");
  const auto get = policy.Request("a.example", "GET", "/");
  REQUIRE(post.budget);
  REQUIRE(get.budget);
  CHECK(post.budget->rate->count == 1);
  CHECK(get.budget->rate->count == 9);
  CHECK(policy.engine().DecideName(Name("a.example")).budget->rate->count == 3);
  CHECK(policy.engine().DecideName(Name("a.example")).listed);
  CHECK_FALSE(policy.engine().DecideName(Name("b.example")).listed);
}

TEST_CASE("a path that servers may read in two ways can't choose between two budgets") {
  Policy policy(
      "allow.http { host = 'a.example', path = '/cheap/**', rate = '1/h' }\n"
      "allow.http { host = 'a.example', path = '/**' }");
  CHECK(policy.Forwards("a.example", "GET", "/cheap/x"));
  CHECK_FALSE(policy.Forwards("a.example", "GET", "/other/../cheap/x"));
}

TEST_CASE("a callback can't make up budgets") {
  Policy policy(
      "on.connect(function(conn)\n"
      "  local tcp = conn:match_tcp { host = 'a.example', rate = '1/s' }\n"
      "  if tcp then tcp:accept() end\nend)");
  const auto verdict = policy.Flow(Policy::Named("a.example", 22));
  CHECK(verdict.action == FlowVerdict::Action::kDeny);
  CHECK(verdict.refusal.reason == Reason::kPolicyError);
  CHECK_THAT(verdict.refusal.detail, Catch::Contains("belong to rules of the file"));
}

TEST_CASE("names below a wildcard that look like data are not resolved") {
  TunnelGuard guard;
  for (const char* good :
       {"www.a.example", "d111111abcdef8.cloudfront.net", "my-bucket.s3.eu-central-1.amazonaws.com",
        "internal-a1b2c3d4e5f6a7b8-1234567890.us-east-1.elb.amazonaws.com",
        "0cc175b9c0f1b6a831c399e2697726610cc175b9.a.example",
        "my-app-git-some-feature-branch-of-the-team-name.vercel.app"}) {
    INFO(good);
    CHECK_FALSE(guard.Check(Name(good), kStart));
  }
  const auto refusal =
      guard.Check(Name("mfzwizltomrggzdfmzsq2lbonvxw4ytvor2gk3tfojsxg5djn5xa.t.example"), kStart);
  REQUIRE(refusal);
  CHECK(refusal->reason == Reason::kDnsTunnel);
  const std::string label(34, 'a');
  CHECK(guard.Check(Name(label + "." + label + "." + label + ".t.example"), kStart));
}

TEST_CASE("new names below wildcards come at a bounded rate, known ones as they like") {
  TunnelGuard guard;
  const auto name = [](int i) { return Name("h" + std::to_string(i) + ".a.example"); };
  int let_through = 0;
  for (int i = 0; i < 300; ++i) let_through += !guard.Check(name(i), kStart);
  CHECK(let_through == static_cast<int>(TunnelGuard::kBurst));
  CHECK_FALSE(guard.Check(name(0), kStart));
  const auto refusal = guard.Check(name(500), kStart);
  REQUIRE(refusal);
  CHECK(refusal->retry_after == 1s);
  for (int i = 0; i < 5; ++i) CHECK_FALSE(guard.Check(name(600 + i), kStart + 1s));
  CHECK(guard.Check(name(700), kStart + 1s));
}

}  // namespace
}  // namespace sallyport::policy
