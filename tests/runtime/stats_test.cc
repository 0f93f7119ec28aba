#include "runtime/api/stats.h"

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

const std::vector<SandboxStats> kTwo = {
    {"sp-a",
     {{"sallyport_drops_total", {{"reason", "spoofed"}}, "3"},
      {"sallyport_uptime_seconds", {}, "1.500000"}}},
    {"sp-b", {{"sallyport_drops_total", {{"reason", "spoofed"}}, "0"}}}};

TEST_CASE("numbers of several sandboxes stand under one head for each metric") {
  CHECK(ToPrometheus(kTwo) ==
        "# HELP sallyport_uptime_seconds Since the sandbox is up.\n"
        "# TYPE sallyport_uptime_seconds gauge\n"
        "sallyport_uptime_seconds{sandbox=\"sp-a\"} 1.500000\n"
        "# HELP sallyport_drops_total What was dropped rather than answered, by reason.\n"
        "# TYPE sallyport_drops_total counter\n"
        "sallyport_drops_total{sandbox=\"sp-a\",reason=\"spoofed\"} 3\n"
        "sallyport_drops_total{sandbox=\"sp-b\",reason=\"spoofed\"} 0\n");
}

TEST_CASE("a label's value is escaped, and an unknown metric left out") {
  const std::string text = ToPrometheus(
      {{"a\"b\\c\nd", {{"sallyport_link_up", {}, "1"}, {"sallyport_no_such", {}, "1"}}}});
  CHECK(text.find("{sandbox=\"a\\\"b\\\\c\\nd\"} 1\n") != std::string::npos);
  CHECK(text.find("no_such") == std::string::npos);
}

TEST_CASE("as JSON each sandbox is a line, and numbers are numbers") {
  CHECK(
      ToJson(kTwo) ==
      R"({"sandbox":"sp-a","numbers":[)"
      R"({"name":"sallyport_drops_total","labels":{"reason":"spoofed"},"value":3},)"
      R"({"name":"sallyport_uptime_seconds","labels":{},"value":1.5}]})"
      "\n"
      R"({"sandbox":"sp-b","numbers":[{"name":"sallyport_drops_total","labels":{"reason":"spoofed"},"value":0}]})"
      "\n");
}

}  // namespace
}  // namespace sallyport
