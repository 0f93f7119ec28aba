#include "policy/lua_pattern.h"

#include <catch2/catch.hpp>
#include <string>

#include "policy/lua_state.h"

namespace sallyport::policy {
namespace {

class Counter final : public LuaPattern::StepCounter {
 public:
  void Count(int64_t steps) override { total += steps; }
  int64_t total = 0;
};

std::string MatchOf(std::string_view subject, std::string_view text) {
  Counter counter;
  LuaPattern pattern(subject, text, counter);
  const auto end = pattern.MatchAt(0);
  if (pattern.error() != nullptr) return std::string("error: ") + pattern.error();
  return end ? "matched " + std::string(subject.substr(0, *end)) : "no match";
}

TEST_CASE("patterns match as the manual says") {
  CHECK(MatchOf("abc", "abc") == "matched abc");
  CHECK(MatchOf("abc", "a.c$") == "matched abc");
  CHECK(MatchOf("aaab", "a*") == "matched aaa");
  CHECK(MatchOf("aaab", "a-b") == "matched aaab");
  CHECK(MatchOf("b", "a?b") == "matched b");
  CHECK(MatchOf("x]y", "[]x]+") == "matched x]");
  CHECK(MatchOf("5-a", "[%d%-]+") == "matched 5-");
  CHECK(MatchOf("m", "[a-z]") == "matched m");
  CHECK(MatchOf("-", "[a-]") == "matched -");
  CHECK(MatchOf("x", "[^a-w]") == "matched x");
  CHECK(MatchOf("a\nb", "%a%c%l") == "matched a\nb");
  CHECK(MatchOf("", "") == "matched ");
  CHECK(MatchOf("ab", "%A") == "no match");
}

TEST_CASE("malformed patterns are errors, not crashes") {
  for (const char* text : {"[",  "[a",  "[^", "[%",  "[%]", "[a-", "%",    "(",    "(a", "a)", ")",
                           "%b", "%ba", "%f", "%fa", "%f[", "%1",  "(%1)", "()%2", "[]", "[^]"}) {
    INFO(text);
    Counter counter;
    LuaPattern pattern("abc", text, counter);
    const auto end = pattern.MatchAt(0);
    CHECK((pattern.error() != nullptr || !end));
  }
}

TEST_CASE("every byte may stand in a subject and a pattern") {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (int i = 0; i < 256; ++i) {
    for (const char* prefix : {"", "%", "[", "[^", "[%", "[a-", "%f[", "(", "%b"}) {
      Counter counter;
      const std::string text = std::string(prefix) + static_cast<char>(i);
      LuaPattern pattern(all, text, counter);
      for (size_t start : {size_t{0}, size_t{128}, size_t{256}}) pattern.MatchAt(start);
    }
  }
}

TEST_CASE("work is counted") {
  Counter counter;
  const std::string subject(60, 'a');
  LuaPattern pattern(subject, ".-.-.-b", counter);
  CHECK_FALSE(pattern.MatchAt(0));
  CHECK(counter.total > 30'000);
}

}  // namespace
}  // namespace sallyport::policy
