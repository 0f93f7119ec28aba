#include "runtime/backend/namespaces/plan.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/backend/namespaces/conversation.h"
#include "runtime/backend/namespaces/host_runs.h"
#include "runtime/backend/namespaces/id_range.h"
#include "runtime/backend/namespaces/settings.h"
#include "tests/runtime/backend/sandbox.h"

namespace sallyport::runtime {
namespace {

using Catch::Matchers::Contains;
using testing::TempDir;

Result<Plan> PlanOf(const std::string& source, const std::string& target,
                    const std::vector<std::string>& masked = {}) {
  WorkloadSpec spec;
  spec.mounts = {{source, target, true}};
  spec.masked = masked;
  return MakePlan(spec);
}

TEST_CASE("a mount target must be a clean path outside of the sandbox's own file systems") {
  const TempDir dir;
  for (const char* target : {"", "/", "work", "/a/../b", "/a/./b", "/a//b", "/a/", "/proc",
                             "/proc/x", "/sys/fs", "/dev", "/dev/shm"}) {
    INFO(target);
    const auto plan = PlanOf(dir.path(), target);
    REQUIRE_FALSE(plan);
    CHECK(plan.error().code() == Code::kInvalid);
  }
  CHECK(PlanOf(dir.path(), "/work"));
  CHECK(PlanOf(dir.path(), "/procedures"));
}

TEST_CASE("a mount source must exist and be a directory or a file") {
  const TempDir dir;
  const auto missing = PlanOf(dir / "missing", "/work");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == Code::kNotFound);
  CHECK_THAT(missing.error().message(), Contains(dir / "missing"));
  CHECK_FALSE(PlanOf("relative", "/work"));

  const UniqueFd server(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (dir / "socket").c_str(), sizeof address.sun_path - 1);
  REQUIRE(bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  const auto through_socket = PlanOf(dir / "socket", "/work");
  REQUIRE_FALSE(through_socket);
  CHECK_THAT(through_socket.error().message(), Contains("a way around the gate"));
}

TEST_CASE("a mount of the host's root, devices or services is refused") {
  for (const char* source : {"/", "/proc", "/proc/self", "/sys", "/dev", "/dev/null", "/run"}) {
    INFO(source);
    CHECK_FALSE(PlanOf(source, "/work"));
  }
}

TEST_CASE("a mount inside of what is masked is refused, also through a link") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "state/sub");
  std::filesystem::create_directory_symlink(dir / "state", dir / "link");
  for (const std::string& source :
       {dir / "state", dir / "state/sub", dir / "link", dir / "link/sub"}) {
    INFO(source);
    const auto plan = PlanOf(source, "/work", {dir / "state"});
    REQUIRE_FALSE(plan);
    CHECK(plan.error().code() == Code::kDenied);
    CHECK_FALSE(PlanOf(source, "/work", {dir / "link"}));
  }
  CHECK(PlanOf(dir / "state/sub", "/work", {dir / "state/other"}));
}

TEST_CASE("a mount around what is masked hides it, or is refused while it does not exist") {
  const TempDir dir;
  std::filesystem::create_directories(dir / "a/state");
  const auto plan = PlanOf(dir.path(), "/work", {dir / "a/state", "/var/lib/elsewhere"});
  REQUIRE(plan);
  CHECK(plan->mounts[0].hidden == std::vector<std::string>{"a/state"});
  const auto missing = PlanOf(dir.path(), "/work", {dir / "a/missing"});
  REQUIRE_FALSE(missing);
  CHECK_THAT(missing.error().message(), Contains("as soon as it exists"));
}

using Paths = std::vector<std::string>;

Paths HostRuns(const std::string& source) {
  auto found = FindWhatHostRuns(source);
  if (!found) return {"error: " + found.error().message()};
  std::sort(found->begin(), found->end());
  return *found;
}

TEST_CASE("what the host runs is found in a folder, its repositories and theirs") {
  const TempDir dir;
  for (const char* folder : {".git/hooks", ".git/modules/a/b/hooks", ".vscode", "sub/.vscode",
                             "x/y", ".git/objects/config"}) {
    std::filesystem::create_directories(dir / folder);
  }
  for (const char* file : {".git/config", ".git/modules/a/b/HEAD", ".git/modules/a/b/commondir",
                           ".envrc", "x/.git", "x/y/config"}) {
    std::ofstream(dir / file) << "text";
  }
  std::filesystem::create_symlink("/elsewhere", dir / "x/y/.git");
  std::filesystem::create_directory_symlink("..", dir / "x/up");
  CHECK(HostRuns(dir.path()) == Paths{".envrc", ".git/config", ".git/hooks",
                                      ".git/modules/a/b/commondir", ".git/modules/a/b/hooks",
                                      ".vscode", "x/.git", "x/y/.git"});
  CHECK(HostRuns(dir / "x/y") == Paths{".git"});
  const auto plan = PlanOf(dir.path(), "/work");
  REQUIRE(plan);
  CHECK(plan->mounts[0].host_runs.size() == 8);
}

TEST_CASE("no number of folders keeps the repository at the top from being found") {
  const TempDir dir;
  std::filesystem::create_directories(dir / ".git/hooks");
  std::filesystem::create_directories(dir / "zzz/.git/hooks");
  for (int i = 0; i < 5000; ++i) std::filesystem::create_directory(dir / ("!" + std::to_string(i)));
  CHECK(HostRuns(dir.path()) == Paths{".git/hooks"});
}

TEST_CASE("more repositories than can be protected are refused") {
  const TempDir dir;
  for (int i = 0; i < 513; ++i) {
    std::filesystem::create_directories(dir / ("r" + std::to_string(i)) + "/.git/hooks");
  }
  CHECK_FALSE(FindWhatHostRuns(dir.path()));
  CHECK_FALSE(PlanOf(dir.path(), "/work"));
}

TEST_CASE("a host name that would break a file is refused") {
  for (const char* name : {"", "a b", "a\nb", "a/b"}) {
    WorkloadSpec spec;
    spec.hostname = name;
    CHECK_FALSE(MakePlan(spec));
  }
}

TEST_CASE("people, passwords and members of groups don't get into the guest's accounts") {
  CHECK(
      GuestPasswd("root:$6$x:0:0:The Root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n"
                  "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nbroken\n::::::\n") ==
      "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n");
  CHECK(GuestGroup("root:x:0:\nsudo:x:27:alice,bob\nalice:x:1000:\nbad:x:-1:\n") ==
        "root:x:0:\nsudo:x:27:\n");
  CHECK(GuestPasswd("") == "root:x:0:0::/root:/bin/sh\n");
  CHECK(GuestGroup("") == "root:x:0:\n");
}

TEST_CASE("ranges of ids are not given twice, and come back") {
  const TempDir dir;
  const std::string lock = dir / "ids";
  std::vector<IdRange> taken;
  std::vector<uid_t> bases;
  for (uint32_t i = 0; i < IdRange::kSlots; ++i) {
    auto range = ReserveIds(lock);
    if (!range && range.error().code() == Code::kUnsupported) return;  // Few ids here.
    REQUIRE(range);
    bases.push_back(range->base);
    taken.push_back(std::move(*range));
  }
  std::sort(bases.begin(), bases.end());
  CHECK(std::adjacent_find(bases.begin(), bases.end()) == bases.end());
  CHECK(bases.front() == 0x70000000);
  CHECK(bases.back() == 0x7ffc0000);
  const auto none = ReserveIds(lock);
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == Code::kLimit);
  const uid_t freed = taken[77].base;
  taken[77].lock.reset();
  const auto again = ReserveIds(lock);
  REQUIRE(again);
  CHECK(again->base == freed);
}

TEST_CASE("an error survives its way out of the sandbox") {
  const Error error = DecodeError(EncodeError(Error(Code::kUnsupported, "mounting /proc: no")));
  CHECK(error.code() == Code::kUnsupported);
  CHECK(error.message() == "mounting /proc: no");
  CHECK(DecodeError("").code() == Code::kSystem);
  CHECK(DecodeError("\x7fx").code() == Code::kSystem);
}

TEST_CASE("a plan told to the first process is the same there, and half of one is none") {
  Plan plan;
  plan.hostname = "box";
  plan.network = false;
  plan.agent_path = "/usr/libexec/agent";
  plan.mounts = {{.source = "/a\nb",
                  .target = "/t",
                  .writable = true,
                  .directory = true,
                  .owner = 7,
                  .group = 4294967294,
                  .hidden = {"x", "y/z"},
                  .host_runs = {".git/config"}},
                 {.source = "/c", .target = "/u", .hidden = {}, .host_runs = {}}};
  plan.masked = {"/secret"};
  const std::string bytes = EncodePlan(plan);
  const auto same = DecodePlan(bytes);
  REQUIRE(same);
  CHECK(same->hostname == "box");
  CHECK_FALSE(same->network);
  CHECK(same->agent_path == plan.agent_path);
  CHECK(same->masked == plan.masked);
  REQUIRE(same->mounts.size() == 2);
  const Plan::Mount& mount = same->mounts[0];
  CHECK((mount.source == "/a\nb" && mount.target == "/t" && mount.writable && mount.directory));
  CHECK((mount.owner == 7 && mount.group == 4294967294));
  CHECK(mount.hidden == plan.mounts[0].hidden);
  CHECK(mount.host_runs == plan.mounts[0].host_runs);
  CHECK((same->mounts[1].source == "/c" && !same->mounts[1].writable));
  for (size_t size = 0; size < bytes.size(); ++size) CHECK_FALSE(DecodePlan(bytes.substr(0, size)));
}

}  // namespace
}  // namespace sallyport::runtime
