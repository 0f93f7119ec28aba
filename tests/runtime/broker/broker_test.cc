#include "runtime/broker/broker.h"

#include <signal.h>
#include <sys/wait.h>

#include <set>

#include "tests/runtime/broker/files.h"

// The whole program, as the warden starts it; SALLYPORT_BROKER is its path.

namespace sallyport::runtime {
namespace {

/// A broker that is ended, and waited for, with the test.
struct Started {
  Started(BrokerLaunch launch, std::string_view values)
      : broker(Broker::Start(SALLYPORT_BROKER, launch, Pipe(values))) {
    REQUIRE(broker);
  }
  ~Started() { End(); }
  void End() {
    if (ended) return;
    ended = true;
    kill(broker->pid(), SIGKILL);
    waitpid(broker->pid(), nullptr, 0);
  }
  /// "VALUE", or "(why there is none)".
  std::string Ask(uint16_t secret) {
    REQUIRE(broker->Ask(secret));
    auto answer = broker->Await(Clock::now() + std::chrono::seconds(60));
    if (!answer) return "(" + answer.error().message() + ")";
    REQUIRE(answer->secret == secret);
    if (answer->kind == BrokerAnswer::Kind::kValue) return answer->bytes.text;
    return "(" + answer->bytes.text + ")";
  }
  Result<Broker> broker;
  bool ended = false;
};

BrokerLaunch Launch(std::vector<SecretSource> sources) {
  BrokerLaunch launch;
  for (auto& source : sources)
    launch.secrets.push_back({"S" + std::to_string(launch.secrets.size()), std::move(source)});
  return launch;
}

constexpr std::string_view kValues("TOKEN\0the value\0PATH\0/usr/bin:/bin\0", 35);

TEST_CASE("the broker gives the value of a declared secret, and says what is missing of another") {
  Started started(Launch({EnvSource{"TOKEN"}, EnvSource{"GONE"}}), kValues);
  CHECK(started.Ask(0) == "the value");
  CHECK(started.Ask(1) == "(variable GONE is not set)");
  CHECK(started.Ask(0) == "the value");
}

TEST_CASE("questions asked at once are each answered once") {
  Started started(
      Launch({EnvSource{"TOKEN"}, CommandSource{{"echo", "printed"}, "/", {}}, EnvSource{"GONE"}}),
      kValues);
  for (const uint16_t secret : std::vector<uint16_t>{2, 1, 0}) REQUIRE(started.broker->Ask(secret));
  std::set<uint16_t> answered;
  for (int i = 0; i < 3; ++i) {
    auto answer = started.broker->Await(Clock::now() + std::chrono::seconds(60));
    REQUIRE(answer);
    answered.insert(answer->secret);
  }
  CHECK(answered.size() == 3);
}

TEST_CASE("a command gets the user's variables, and its output is the value for its lifetime") {
  Started started(
      Launch({CommandSource{{"sh", "-c", "echo got $TOKEN"}, "/", std::chrono::minutes(5)}}),
      kValues);
  REQUIRE(started.broker->Ask(0));
  const auto answer = started.broker->Await(Clock::now() + std::chrono::seconds(60));
  REQUIRE(answer);
  CHECK(answer->bytes.text == "got the value");
  CHECK(answer->lifetime == std::chrono::minutes(5));
}

TEST_CASE("a question that no warden of ours asks ends the broker") {
  Started unknown(Launch({EnvSource{"TOKEN"}}), kValues);
  CHECK(unknown.Ask(1) == "(the broker died)");
  Started twice(Launch({CommandSource{{"sleep", "60"}, "/", {}}}), kValues);
  REQUIRE(twice.broker->Ask(0));
  REQUIRE(twice.broker->Ask(0));
  CHECK_FALSE(twice.broker->Await(Clock::now() + std::chrono::seconds(60)));
}

TEST_CASE("a dead broker is an error, not a wait") {
  Started started(Launch({EnvSource{"TOKEN"}}), kValues);
  started.End();
  const auto asked = started.broker->Ask(0);
  const auto answer = started.broker->Await(Clock::now() + std::chrono::seconds(60));
  CHECK_FALSE((asked && answer));
}

TEST_CASE("roots that can't be read are told, not passed over") {
  OAuth2Source oauth;
  oauth.token_url = *HttpUrl::Parse("https://id.example.com/");
  auto launch = Launch({oauth});
  launch.extra_roots = {{"bad.pem", "-----BEGIN CERTIFICATE-----\nnone\n"}};
  Started started(launch, kValues);
  CHECK(started.Ask(0).find("bad.pem") != std::string::npos);
}

TEST_CASE("what is declared of one host and can't be read is told, not passed over") {
  OAuth2Source oauth;
  oauth.token_url = *HttpUrl::Parse("https://id.example.com/");
  auto launch = Launch({oauth, FileSource{"/nonexistent/key.pem"}});
  auto& server = launch.servers.emplace_back();
  server.host = "id.example.com";
  server.declared_at = "policy.lua:3";
  SECTION("its roots") {
    server.roots = {{"corp.pem", "-----BEGIN CERTIFICATE-----\nnone\n"}};
    Started started(launch, kValues);
    CHECK(started.Ask(0).find("corp.pem") != std::string::npos);
  }
  SECTION("the key of its client certificate") {
    server.client = {{"client.pem", ""}, "/nonexistent/key.pem"};
    Started started(launch, kValues);
    CHECK(started.Ask(0).find("policy.lua:3: client_cert: file /nonexistent/key.pem") !=
          std::string::npos);
  }
}

TEST_CASE("a program that is not there is an error that names it") {
  const auto broker = Broker::Start("/nonexistent/sandbox-broker", {}, Pipe(""));
  REQUIRE_FALSE(broker);
  CHECK(broker.error().message().find("/nonexistent/sandbox-broker") != std::string::npos);
}

}  // namespace
}  // namespace sallyport::runtime
