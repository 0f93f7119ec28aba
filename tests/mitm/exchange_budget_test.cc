#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

namespace sallyport::mitm {
namespace {

using policy::FakeEngine;

/// What its rule allows, as SET makes it.
template <class Set>
void Grant(TestGate& gate, Set set) {
  policy::RuleBudget budget;
  set(budget);
  budget.rule = "policy.lua:1";
  const auto shared = std::make_shared<const policy::RuleBudget>(std::move(budget));
  gate.engine.OnRequest([shared](const auto&, const auto&, RequestHead&) {
    auto verdict = FakeEngine::Forward();
    verdict.budget = shared;
    return verdict;
  });
}

TEST_CASE("requests beyond a rule's rate are told when to try again") {
  TestGate gate;
  Grant(gate, [](auto& budget) { budget.rate = policy::Rate{2, std::chrono::hours(1)}; });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  const std::string answer = gate.Ask(*guest, Get("/"));
  CHECK(StatusOf(answer) == 429);
  CHECK(Contains(answer, "Retry-After: "));
  CHECK(Contains(answer, "urn:sallyport:budget_rate"));
  CHECK(gate.LastRecord().reason == Reason::kBudgetRate);
  CHECK_FALSE(gate.LastRecord().allowed);
}

TEST_CASE("an answer is cut off where its rule's bytes end, and the record says why") {
  TestGate gate([](Origin::Connection& connection) {
    while (!connection.ReadHead().empty()) connection.Answer(std::string(500'000, 'x'));
  });
  Grant(gate, [](auto& budget) { budget.bytes_down = 100'000; });
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return guest->broken() || guest->ended(); });
  CHECK(guest->received.size() < 500'000);
  CHECK(gate.LastRecord().reason == Reason::kBudgetBytes);
  CHECK(gate.LastRecord().status == 200);
  CHECK_FALSE(gate.LastRecord().allowed);
  auto second = gate.Open();
  const std::string answer = gate.Ask(*second, Get("/"));
  CHECK(StatusOf(answer) == 403);
  CHECK(Contains(answer, "urn:sallyport:budget_bytes"));
}

TEST_CASE("a request's head and body are taken off the bytes up") {
  TestGate gate;
  Grant(gate, [](auto& budget) { budget.bytes_up = 1000; });
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 200);
  CHECK(StatusOf(
            gate.Ask(*guest, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2000\r\n\r\n" +
                                 std::string(2000, 'y'))) == 403);
  CHECK(gate.LastRecord().reason == Reason::kBudgetBytes);
  TestGate other;
  Grant(other, [](auto& budget) { budget.bytes_up = 100; });
  auto head = other.Open();
  CHECK(StatusOf(other.Ask(*head, Get("/" + std::string(200, 'q')))) == 403);
}

TEST_CASE("a request that lasts longer than its rule allows is ended") {
  TestGate gate([](Origin::Connection& connection) {
    while (!connection.ReadHead().empty()) {  // Never answers.
    }
  });
  Grant(gate, [](auto& budget) { budget.lifetime = std::chrono::minutes(1); });
  auto guest = gate.Open();
  guest->Send(Get("/"));
  gate.RunUntil([&] { return gate.origin.received() > 0; });
  gate.Pass(std::chrono::minutes(1), [&] { return !gate.audit.records.empty(); });
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 504);
  CHECK(Contains(answer, "urn:sallyport:budget_lifetime"));
  CHECK(gate.LastRecord().reason == Reason::kBudgetLifetime);
}

TEST_CASE("requests under way are counted, and free their place when they end") {
  TestGate gate;
  Grant(gate, [](auto& budget) { budget.connections = 1; });
  auto first = gate.Open();
  auto second = gate.Open();
  // A body that is not there yet keeps the first one under way.
  first->Send("POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\n");
  gate.RunUntil([&] { return gate.engine.asked == 1; });
  CHECK(StatusOf(gate.Ask(*second, Get("/"))) == 429);
  CHECK(gate.LastRecord().reason == Reason::kBudgetConnections);
  CHECK(StatusOf(gate.Ask(*first, "ab")) == 200);
  CHECK(StatusOf(gate.Ask(*second, Get("/"))) == 200);
}

}  // namespace
}  // namespace sallyport::mitm
