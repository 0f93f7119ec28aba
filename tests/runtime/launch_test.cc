#include "runtime/warden/launch.h"

#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

Launch Full() {
  Launch launch;
  launch.sandbox = "sp-abc";
  launch.policy_text = std::string("allow.http {}\0x", 15);
  launch.policy_name = "policy.lua";
  launch.policy_folder = "/home/me";
  launch.secrets = {{"TOKEN", {"a.example", "*.b.example"}}};
  launch.hostname = "box";
  launch.mounts = {{"/home/me/work", "/work", true}, {"/data", "/data", false}};
  launch.masked = {"/home/me/policy.lua"};
  launch.network = false;
  launch.resolvers = {"192.0.2.1:53"};
  launch.extra_roots = {{"ca.pem", "-----BEGIN"}};
  launch.agent_path = "/usr/libexec/sallyport/sandbox-agent";
  launch.timeout = std::chrono::seconds(30);
  return launch;
}

TEST_CASE("a launch message comes back as it was") {
  const auto decoded = Launch::Decode(Full().Encode());
  REQUIRE(decoded);
  CHECK(decoded->sandbox == "sp-abc");
  CHECK(decoded->policy_text.size() == 15);
  REQUIRE(decoded->secrets.size() == 1);
  CHECK(decoded->secrets[0].hosts == std::vector<std::string>{"a.example", "*.b.example"});
  REQUIRE(decoded->mounts.size() == 2);
  CHECK(decoded->mounts[0].writable);
  CHECK_FALSE(decoded->mounts[1].writable);
  CHECK_FALSE(decoded->network);
  CHECK(decoded->extra_roots[0].second == "-----BEGIN");
  CHECK(decoded->timeout == std::chrono::seconds(30));
}

TEST_CASE("a launch message cut anywhere, or with something behind it, is refused") {
  const std::string bytes = Full().Encode();
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(Launch::Decode(std::string_view(bytes).substr(0, length)));
  }
  CHECK_FALSE(Launch::Decode(bytes + '\0'));
}

TEST_CASE("what the warden says of itself comes back as it was") {
  const auto decoded = Launched::Decode(Launched{"sp-abc", "namespace", "tap"}.Encode());
  REQUIRE(decoded);
  CHECK(decoded->link == "tap");
  CHECK_FALSE(Launched::Decode("x"));
}

}  // namespace
}  // namespace sallyport::runtime
