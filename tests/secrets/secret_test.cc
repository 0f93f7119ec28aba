#include "secrets/secret.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "tests/fakes/locks.h"

namespace sallyport::secrets {
namespace {

// The VmFlags line of the mapping that POINTER lies in.
std::string VmFlags(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    std::istringstream range(line);
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char dash = 0;
    if (range >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= address && address < end;
    }
    if (inside && line.starts_with("VmFlags:")) return line + " ";
  }
  return {};
}

// The exit status of a child that runs BODY.
template <class Body>
int InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("a secret holds a copy of its value") {
  std::string source = "correct horse";
  const Result<Secret> secret = Secret::Create(source);
  REQUIRE(secret);
  WipeString(source);
  CHECK(secret->Reveal() == "correct horse");
  CHECK(secret->size() == 13);
}

TEST_CASE("a value that no header can carry makes no secret") {
  for (const std::string& value : {std::string(), std::string("a\nb"), std::string("a\rb"),
                                   std::string("a\0b", 3), std::string(64 * 1024 + 1, 'x')}) {
    const Result<Secret> secret = Secret::Create(value);
    REQUIRE_FALSE(secret);
    CHECK(secret.error().code() == Code::kInvalid);
  }
  CHECK(Secret::Create(std::string(64 * 1024, 'x')));
}

TEST_CASE("a secret moves without a second copy") {
  Result<Secret> first = Secret::Create("first value");
  Result<Secret> second = Secret::Create("second value");
  REQUIRE((first && second));
  const char* bytes = first->Reveal().data();
  Secret moved(*std::move(first));
  CHECK(moved.Reveal().data() == bytes);
  *second = std::move(moved);
  CHECK(second->Reveal() == "first value");
}

TEST_CASE("a secret's pages are its own, locked, not dumped and not inherited") {
  const Result<Secret> one = Secret::Create("the first value");
  const Result<Secret> two = Secret::Create("the second value");
  REQUIRE((one && two));
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(one->Reveal().data());
  const auto second = reinterpret_cast<uintptr_t>(two->Reveal().data());
  CHECK(first % page == 0);
  CHECK(first / page != second / page);
  const std::string flags = VmFlags(one->Reveal().data());
  CHECK((flags.find(" lo ") != std::string::npos) == kLocks);
  CHECK(flags.find(" dd ") != std::string::npos);
  CHECK(flags.find(" wf ") != std::string::npos);
}

TEST_CASE("a child finds zeros where the value is") {
  const Result<Secret> secret = Secret::Create("not for children");
  REQUIRE(secret);
  CHECK(InChild([&] {
          return secret->Reveal().find_first_not_of('\0') == std::string_view::npos ? 0 : 1;
        }) == 0);
  CHECK(secret->Reveal() == "not for children");
}

TEST_CASE("memory that can't be locked is a limit, and the message says what to raise") {
  if (!kLocks) return;
  const int status = InChild([] {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 1;  // Root has no limit.
    const rlimit none{};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) return 2;
    const Result<Secret> secret = Secret::Create("some value");
    if (secret) return 3;
    if (secret.error().code() != Code::kLimit) return 4;
    return secret.error().message().find("ulimit -l") == std::string::npos ? 5 : 0;
  });
  CHECK(status == 0);
}

TEST_CASE("wiping a string reaches all it ever held") {
  std::string text = "a value that is longer than any string keeps inside itself";
  const char* bytes = text.data();
  const size_t size = text.size();
  text.resize(40);
  WipeString(text);
  CHECK(text.empty());
  text.resize(size);  // Within the capacity: the same bytes.
  REQUIRE(text.data() == bytes);
  CHECK(text == std::string(size, '\0'));
}

}  // namespace
}  // namespace sallyport::secrets
