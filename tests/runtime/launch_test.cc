#include "runtime/warden/launch.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

Launch Full() {
  Launch launch;
  launch.sandbox = "sp-abc";
  launch.owner = 4000000000;
  launch.policy_text = std::string("allow.http {}\0x", 15);
  launch.policy_name = "policy.lua";
  launch.policy_folder = "/home/me";
  launch.secrets = {{"TOKEN", {"a.example", "*.b.example"}}};
  launch.hostname = "box";
  launch.mounts = {{"/home/me/work", "/work", true}, {"/data", "/data", false}};
  launch.masked = {"/home/me/policy.lua"};
  launch.network = false;
  launch.learn = true;
  launch.resolvers = {"192.0.2.1:53"};
  launch.extra_roots = {{"ca.pem", "-----BEGIN"}};
  launch.server_files = {{"corp.pem", "-----BEGIN"}};
  launch.agent_path = "/usr/libexec/sallyport/sandbox-agent";
  launch.broker_path = "/usr/libexec/sallyport/sandbox-broker";
  launch.timeout = std::chrono::seconds(30);
  launch.ports = {80, 65535};
  launch.approve_command = {"approve", ""};
  launch.approve_folder = "/home/me";
  launch.otlp_url = "http://127.0.0.1:4318";
  launch.otlp_headers = "@/headers";
  return launch;
}

TEST_CASE("a launch message comes back as it was") {
  const auto decoded = Launch::Decode(Full().Encode());
  REQUIRE(decoded);
  CHECK(decoded->sandbox == "sp-abc");
  CHECK(decoded->owner == 4000000000);
  CHECK(decoded->policy_text.size() == 15);
  REQUIRE(decoded->secrets.size() == 1);
  CHECK(decoded->secrets[0].hosts == std::vector<std::string>{"a.example", "*.b.example"});
  REQUIRE(decoded->mounts.size() == 2);
  CHECK(decoded->mounts[0].writable);
  CHECK_FALSE(decoded->mounts[1].writable);
  CHECK_FALSE(decoded->network);
  CHECK(decoded->learn);
  CHECK(decoded->extra_roots[0].second == "-----BEGIN");
  CHECK(decoded->server_files == Full().server_files);
  CHECK(decoded->broker_path == "/usr/libexec/sallyport/sandbox-broker");
  CHECK(decoded->timeout == std::chrono::seconds(30));
  CHECK(decoded->ports == std::vector<uint16_t>{80, 65535});
  CHECK(decoded->approve_command == std::vector<std::string>{"approve", ""});
  CHECK(decoded->approve_folder == "/home/me");
  CHECK(decoded->otlp_url == "http://127.0.0.1:4318");
  CHECK(decoded->otlp_headers == "@/headers");
}

TEST_CASE("a launch message cut anywhere, or with something behind it, is refused") {
  const std::string bytes = Full().Encode();
  for (size_t length = 0; length < bytes.size(); ++length) {
    CAPTURE(length);
    CHECK_FALSE(Launch::Decode(std::string_view(bytes).substr(0, length)));
  }
  CHECK_FALSE(Launch::Decode(bytes + '\0'));
}

struct ControlSocket {
  ControlSocket() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    owner = UniqueFd(ends[0]);
    warden = UniqueFd(ends[1]);
  }
  UniqueFd owner;
  UniqueFd warden;
};

UniqueFd MemoryFile(std::string_view text) {
  UniqueFd file(memfd_create("test", MFD_CLOEXEC));
  REQUIRE(pwrite(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return file;
}

TEST_CASE("a launch message travels with its descriptors, and leaves what follows unread") {
  const ControlSocket socket;
  LaunchMessage sent{Full(), MemoryFile("audit"), MemoryFile("values"), MemoryFile("commands")};
  sent.ports.push_back(MemoryFile("first"));
  sent.ports.push_back(MemoryFile("second"));
  REQUIRE(SendLaunch(socket.owner.get(), sent));
  REQUIRE(write(socket.owner.get(), "frames", 6) == 6);
  const auto message = ReceiveLaunch(socket.warden.get());
  REQUIRE(message);
  CHECK(message->launch.sandbox == "sp-abc");
  char text[16] = {};
  CHECK(pread(message->audit.get(), text, sizeof text, 0) == 5);
  CHECK(std::string_view(text) == "audit");
  CHECK(pread(message->values.get(), text, sizeof text, 0) == 6);
  CHECK(std::string_view(text) == "values");
  CHECK(pread(message->commands.get(), text, sizeof text, 0) == 8);
  REQUIRE(message->ports.size() == 2);
  CHECK(pread(message->ports[1].get(), text, sizeof text, 0) == 6);
  CHECK(read(socket.warden.get(), text, sizeof text) == 6);
  CHECK_FALSE(message->capture.valid());
}

TEST_CASE("a file for a capture travels with a launch message that has one") {
  const ControlSocket socket;
  LaunchMessage sent{Full(), MemoryFile("audit"), MemoryFile("values"), MemoryFile("commands")};
  sent.ports.push_back(MemoryFile("first"));
  sent.ports.push_back(MemoryFile("second"));
  sent.capture = MemoryFile("capture");
  REQUIRE(SendLaunch(socket.owner.get(), sent));
  const auto message = ReceiveLaunch(socket.warden.get());
  REQUIRE(message);
  char text[16] = {};
  CHECK(pread(message->capture.get(), text, sizeof text, 0) == 7);
  CHECK(std::string_view(text) == "capture");
  CHECK(message->ports.size() == 2);
}

TEST_CASE("an owner that ends without a launch message is told from one that sends another") {
  ControlSocket ended;
  ended.owner.reset();
  const auto nothing = ReceiveLaunch(ended.warden.get());
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code() == Code::kNotFound);

  const ControlSocket wrong;
  REQUIRE(write(wrong.owner.get(), "L", 1) == 1);
  const auto bare = ReceiveLaunch(wrong.warden.get());
  REQUIRE_FALSE(bare);
  CHECK(bare.error().code() == Code::kInvalid);
}

TEST_CASE("a launch message with as many ports as there may be arrives, and one with others is refused") {
  Launch launch = Full();
  launch.ports.assign(kMaxPublishedPorts, 80);
  LaunchMessage sent{launch, MemoryFile("audit"), MemoryFile("values"), MemoryFile("commands")};
  for (size_t i = 0; i < kMaxPublishedPorts; ++i) sent.ports.push_back(MemoryFile("port"));
  const ControlSocket whole;
  REQUIRE(SendLaunch(whole.owner.get(), sent));
  const auto message = ReceiveLaunch(whole.warden.get());
  REQUIRE(message);
  CHECK(message->ports.size() == kMaxPublishedPorts);

  sent.ports.pop_back();
  const ControlSocket short_of_one;
  REQUIRE(SendLaunch(short_of_one.owner.get(), sent));
  const auto refused = ReceiveLaunch(short_of_one.warden.get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Code::kInvalid);
}

TEST_CASE("what the warden says of itself comes back as it was") {
  const auto decoded = Launched::Decode(Launched{"sp-abc", "namespace", "tap"}.Encode());
  REQUIRE(decoded);
  CHECK(decoded->link == "tap");
  CHECK_FALSE(Launched::Decode("x"));
}

}  // namespace
}  // namespace sallyport::runtime
