#include "base/http_message.h"

#include <catch2/catch.hpp>

#include "base/dialer.h"
#include "base/reason.h"

namespace sallyport {
namespace {

TEST_CASE("header names ignore case and keep their order") {
  Headers headers;
  headers.Add("Accept", "a");
  headers.Add("X-One", "1");
  headers.Add("ACCEPT", "b");
  REQUIRE(headers.Find("accept"));
  CHECK(*headers.Find("accept") == "a");
  CHECK(headers.FindAll("aCCept") == std::vector<std::string_view>{"a", "b"});
  CHECK(headers.Count("accept") == 2);
  CHECK(headers.Find("x-two") == nullptr);
}

TEST_CASE("setting a header leaves one where the first stood") {
  Headers headers;
  headers.Add("A", "1");
  headers.Add("b", "2");
  headers.Add("a", "3");
  headers.Add("c", "4");
  headers.Set("a", "5");
  REQUIRE(headers.fields().size() == 3);
  CHECK(headers.fields()[0].name == "a");
  CHECK(headers.fields()[0].value == "5");
  headers.Set("d", "6");
  CHECK(headers.fields().back().name == "d");
}

TEST_CASE("a header may be set or removed by its own name") {
  Headers headers;
  headers.Add("a-rather-long-header-name", "a value too long for the small string");
  headers.Add("a-rather-long-header-name", "another value, long as well, to be sure");
  headers.Set(headers.fields()[1].name, headers.fields()[1].value);
  REQUIRE(headers.fields().size() == 1);
  CHECK(headers.fields()[0].value == "another value, long as well, to be sure");
  CHECK(headers.Remove(headers.fields()[0].name) == 1);
  CHECK(headers.fields().empty());
}

TEST_CASE("tokens and field values are what RFC 9110 says") {
  CHECK(IsToken("GET"));
  CHECK(IsToken("x-a_b.c~1|"));
  for (const std::string_view text : {"", "a b", "a:", "a\n", "ä", "a\"", "(", "a/b"}) {
    CHECK_FALSE(IsToken(text));
  }
  CHECK(IsFieldValue(""));
  CHECK(IsFieldValue("a\tb \xff"));
  for (const std::string_view text : {"a\r", "a\nb", "\x01", "\x7f"})
    CHECK_FALSE(IsFieldValue(text));
  CHECK_FALSE(IsFieldValue(std::string_view("a\0b", 3)));
  CHECK_FALSE(IsToken(std::string_view("a\0", 2)));
}

TEST_CASE("a target is the path and the query as spelled") {
  RequestHead head;
  head.path = "/a%2Fb";
  CHECK(head.Target() == "/a%2Fb");
  head.query = "";
  CHECK(head.Target() == "/a%2Fb?");
  head.query = "x=1?";
  CHECK(head.Target() == "/a%2Fb?x=1?");
}

TEST_CASE("reasons and transports have their stable names") {
  CHECK(ToString(Reason::kAllowed) == "allowed");
  CHECK(ToString(Reason::kAnsweredByGate) == "answered_by_gate");
  CHECK(ToString(Reason::kAuditUnavailable) == "audit_unavailable");
  CHECK(ToString(Reason::kNameNotGranted) == "name_not_granted");
  CHECK(ToString(Transport::kUdp) == "udp");
}

}  // namespace
}  // namespace sallyport
