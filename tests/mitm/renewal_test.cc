#include <catch2/catch.hpp>
#include <string>

#include "tests/mitm/harness.h"

// Secrets whose value a server no longer takes: 401, a new value, and the request again.

namespace sallyport::mitm {
namespace {

constexpr const char* kOld = "ghp_oldoldoldoldoldoldoldoldoldoldold000";
constexpr const char* kNew = "ghp_newnewnewnewnewnewnewnewnewnewnew111";

/// Answers 401 to every credential but the new one.
void WantsNew(Origin::Connection& connection) {
  for (;;) {
    const std::string head = connection.ReadHead();
    if (head.empty()) return;
    const std::string body = connection.ReadBody(head);
    if (Contains(head, kNew)) {
      connection.Answer("welcome " + body);
    } else {
      connection.Write(
          "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: "
          "4\r\n\r\nno!\n");
    }
  }
}

/// A gate whose secret has the old value; Rotate() gives it the new one.
struct RenewalGate : TestGate {
  RenewalGate() : TestGate(WantsNew) {
    SecretSpec spec;
    spec.name = "TOKEN";
    spec.hosts = {*HostPattern::Parse("api.test")};
    REQUIRE(secrets.Add(std::move(spec), std::move(*secrets::Secret::Create(kOld))));
    fields = "Authorization: Bearer " + *secrets.PlaceholderOf("TOKEN") + "\r\n";
    renew = [this](const std::vector<std::string>& names, std::function<void(bool)> done) {
      asked.push_back(names);
      waiting = std::move(done);
      return Pending([this] { waiting = nullptr; });
    };
  }
  void Rotate() { REQUIRE(secrets.Rotate("TOKEN", std::move(*secrets::Secret::Create(kNew)))); }
  void Settle(bool renewed) {
    RunUntil([this] { return static_cast<bool>(waiting); });
    const auto done = std::exchange(waiting, nullptr);
    later = loop->Post([done, renewed] { done(renewed); });
  }

  std::string fields;
  std::vector<std::vector<std::string>> asked;
  std::function<void(bool)> waiting;
  Loop::Handle later;
};

TEST_CASE(
    "a request that a 401 answers is sent again with the new value, and the guest sees one "
    "answer") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.RunUntil([&] { return !gate.asked.empty(); });
  CHECK(guest->received.empty());
  gate.Rotate();
  gate.Settle(true);
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 200);
  CHECK(Contains(answer, "welcome"));
  CHECK(gate.asked == std::vector<std::vector<std::string>>{{"TOKEN"}});
  CHECK(gate.LastRecord().status == 200);
  CHECK(gate.LastRecord().secrets == std::vector<std::string>{"TOKEN"});
  CHECK(gate.audit.records.size() == 1);
  // The connection goes on.
  CHECK(StatusOf(gate.Ask(*guest, Get("/", gate.fields))) == 200);
}

TEST_CASE("a 401 is passed on when nothing new can be had, with its body") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.Settle(false);
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) == 401);
  CHECK(Contains(answer, "WWW-Authenticate: Bearer"));
  CHECK(answer.ends_with("no!\n"));
}

TEST_CASE("a second 401 is the answer") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.Settle(true);  // Said to be new, but the server does not take it.
  CHECK(StatusOf(gate.TakeAnswer(*guest)) == 401);
  CHECK(gate.asked.size() == 1);
}

TEST_CASE("a request with a body is not sent again, but the next one carries the new value") {
  RenewalGate gate;
  auto guest = gate.Open();
  const std::string post =
      "POST / HTTP/1.1\r\nHost: api.test\r\n" + gate.fields + "Content-Length: 2\r\n\r\nhi";
  CHECK(StatusOf(gate.Ask(*guest, post)) == 401);
  CHECK(gate.asked.size() == 1);
  gate.Rotate();
  CHECK(Contains(gate.Ask(*guest, post), "welcome hi"));
}

TEST_CASE("a request that may not be repeated is not, even without a body") {
  RenewalGate gate;
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, "POST / HTTP/1.1\r\nHost: api.test\r\n" + gate.fields +
                                      "Content-Length: 0\r\n\r\n")) == 401);
  CHECK(gate.asked.size() == 1);
  CHECK(gate.origin.connections() == 1);
}

TEST_CASE("a 401 to a request without a secret asks nobody") {
  RenewalGate gate;
  auto guest = gate.Open();
  CHECK(StatusOf(gate.Ask(*guest, Get("/"))) == 401);
  CHECK(gate.asked.empty());
}

TEST_CASE("a secret that became unavailable meanwhile is refused, not sent as it was") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.RunUntil([&] { return !gate.asked.empty(); });
  REQUIRE(gate.secrets.MakeUnavailable("TOKEN", "its value has expired"));
  gate.Settle(true);
  const std::string answer = gate.TakeAnswer(*guest);
  CHECK(StatusOf(answer) >= 400);
  CHECK(Contains(answer, "its value has expired"));
}

TEST_CASE("a guest that leaves while a value is renewed leaves nothing behind") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.RunUntil([&] { return !gate.asked.empty(); });
  guest.reset();
  gate.RunUntil([&] { return gate.interceptor->connections() == 0; });
  CHECK_FALSE(gate.waiting);
  CHECK(gate.audit.records.size() == 1);
}

TEST_CASE("the gate may end while a value is renewed") {
  RenewalGate gate;
  auto guest = gate.Open();
  guest->Send(Get("/", gate.fields));
  gate.RunUntil([&] { return !gate.asked.empty(); });
  gate.interceptor.reset();
  CHECK_FALSE(gate.waiting);
}

}  // namespace
}  // namespace sallyport::mitm
