#include "runtime/broker/variables.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>

#include "tests/runtime/broker/files.h"

namespace sallyport::runtime {
namespace {

std::vector<std::string> Entries(Variables& variables) {
  std::vector<std::string> entries;
  for (const char* entry : variables.ForExec()) entries.emplace_back(entry ? entry : "(end)");
  return entries;
}

constexpr std::string_view kTwo("ONE\0first\0TWO\0sec\nond=\0", 24);

TEST_CASE("variables are found by their whole name, and stand as a program takes them") {
  auto variables = *Variables::Read(Pipe(kTwo));
  CHECK(variables.Find("ONE") == "first");
  CHECK(variables.Find("TWO") == "sec\nond=");
  CHECK_FALSE(variables.Find("ON"));
  CHECK_FALSE(variables.Find("ONE=first"));
  CHECK_FALSE(variables.Find(""));
  CHECK(Entries(variables) == std::vector<std::string>{"ONE=first", "TWO=sec\nond=", "(end)"});
}

TEST_CASE("the first of two variables of one name counts, and an empty one is there") {
  const auto variables = *Variables::Read(Pipe(std::string_view("A\0x\0A\0y\0B\0\0", 11)));
  CHECK(variables.Find("A") == "x");
  CHECK(variables.Find("B") == "");
}

TEST_CASE("variables without an end are not taken for whole ones") {
  for (const auto bytes : {std::string_view("NAME"), std::string_view("NAME\0val", 8)}) {
    auto variables = *Variables::Read(Pipe(bytes));
    CHECK(Entries(variables) == std::vector<std::string>{"(end)"});
    CHECK_FALSE(variables.Find("NAME"));
  }
  for (const char* none : {"", "="}) {
    CHECK_FALSE(Variables::Read(Pipe(none))->Find(""));
  }
  auto none = *Variables::Read(UniqueFd());
  CHECK(Entries(none) == std::vector<std::string>{"(end)"});
}

TEST_CASE("an environment of many pages is read whole") {
  std::string values;
  for (int i = 0; i < 2000; ++i) {
    values.append("N" + std::to_string(i)).push_back('\0');
    values.append(20, 'v').push_back('\0');
  }
  auto variables = *Variables::Read(Pipe(values));
  CHECK(variables.ForExec().size() == 2001);
  CHECK(variables.Find("N1999") == std::string(20, 'v'));
}

TEST_CASE("a child has none of the variables but those that it is told") {
  const auto variables = *Variables::Read(Pipe(kTwo));
  std::array<int, 2> pair;
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  UniqueFd ours(pair[0]);
  const UniqueFd theirs(pair[1]);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ours.reset();
    const bool inherited = variables.Find("ONE").has_value();
    const auto told = Variables::Receive(theirs.get());
    _exit(!inherited && told && told->Find("TWO") == "sec\nond=" ? 0 : 1);
  }
  CHECK(variables.Send(ours.get()));
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("an environment cut anywhere on its way to a child is none") {
  std::array<int, 2> pair;
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
  std::string sent;
  {
    const UniqueFd ours(pair[0]);
    const UniqueFd theirs(pair[1]);
    REQUIRE(Variables::Read(Pipe(kTwo))->Send(ours.get()));
    std::array<char, 64> bytes;
    const ssize_t size = read(theirs.get(), bytes.data(), bytes.size());
    REQUIRE(size > 0);
    sent.assign(bytes.data(), static_cast<size_t>(size));
  }
  for (size_t length = 0; length < sent.size(); ++length) {
    CHECK_FALSE(Variables::Receive(Pipe(sent.substr(0, length)).get()));
  }
  CHECK(Variables::Receive(Pipe(sent).get())->Find("ONE") == "first");
  std::string huge = sent;
  huge[7] = 1;
  CHECK_FALSE(Variables::Receive(Pipe(huge).get()));
}

}  // namespace
}  // namespace sallyport::runtime
