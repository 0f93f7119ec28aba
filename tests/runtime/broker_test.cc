#include "runtime/broker/broker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

UniqueFd Values(std::string_view bytes) {
  std::array<int, 2> ends;
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd writer(ends[1]);
  REQUIRE(write(writer.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  return UniqueFd(ends[0]);
}

SecretSpec FromVariable(std::string name) {
  SecretSpec spec;
  spec.name = name;
  spec.source = {SecretSource::Kind::kEnv, std::move(name)};
  return spec;
}

void End(const Broker& broker) {
  kill(broker.pid(), SIGKILL);
  REQUIRE(waitpid(broker.pid(), nullptr, 0) == broker.pid());
}

TEST_CASE("the broker gives the value of a declared secret, and says what is missing of another") {
  auto broker = Broker::Start({FromVariable("TOKEN"), FromVariable("GONE")},
                              Values(std::string_view("TOKEN\0the value\0", 16)));
  REQUIRE(broker);
  const auto value = broker->Read("TOKEN");
  REQUIRE(value);
  CHECK(value->Reveal() == "the value");
  const auto gone = broker->Read("GONE");
  REQUIRE_FALSE(gone);
  CHECK(gone.error().message() == "variable GONE is not set");
  CHECK_FALSE(broker->Read("UNDECLARED"));
  End(*broker);
}

TEST_CASE("a dead broker is an error, not a wait") {
  auto broker = Broker::Start({FromVariable("TOKEN")}, Values(std::string_view("TOKEN\0v\0", 8)));
  REQUIRE(broker);
  End(*broker);
  CHECK_FALSE(broker->Read("TOKEN"));
}

}  // namespace
}  // namespace sallyport::runtime
