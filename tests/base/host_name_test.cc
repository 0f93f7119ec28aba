#include "base/host_name.h"

#include <catch2/catch.hpp>
#include <string>

namespace sallyport {
namespace {

std::string Canonical(std::string_view text) {
  const auto name = HostName::Parse(text);
  return name ? name->text() : "refused: " + name.error().message();
}

bool Refused(std::string_view text) {
  const auto name = HostName::Parse(text);
  return !name && name.error().code() == Code::kInvalid;
}

std::string CanonicalHost(std::string_view text) {
  const auto host = ParseHost(text);
  return host ? ToString(*host) : "refused";
}

HostName Name(std::string_view text) {
  return *HostName::Parse(text);
}

HostPattern Pattern(std::string_view text) {
  const auto pattern = HostPattern::Parse(text);
  INFO(text);
  REQUIRE(pattern);
  return *pattern;
}

std::string PatternError(std::string_view text) {
  const auto pattern = HostPattern::Parse(text);
  return pattern ? "accepted" : pattern.error().message();
}

TEST_CASE("a name has one canonical form") {
  CHECK(Canonical("api.example.com") == "api.example.com");
  CHECK(Canonical("API.Example.COM") == "api.example.com");
  CHECK(Canonical("example.com.") == "example.com");
  CHECK(Canonical("bücher.example") == "xn--bcher-kva.example");
  CHECK(Canonical("BÜCHER.example.") == "xn--bcher-kva.example");
  CHECK(Canonical("faß.de") == "xn--fa-hia.de");  // Non-transitional.
  CHECK(Canonical("bücher。example") == "xn--bcher-kva.example");
  CHECK(Canonical("ｅｘａｍｐｌｅ.com") == "example.com");
  CHECK(Canonical("_dmarc.example.com") == "_dmarc.example.com");
  CHECK(Canonical("xn--bcher-kva.example") == "xn--bcher-kva.example");
  CHECK(Canonical("host-1") == "host-1");
}

TEST_CASE("lengths are limited as in the DNS") {
  const std::string label(63, 'a');
  CHECK(Canonical(label + ".com") == label + ".com");
  CHECK(Refused(label + "a.com"));
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  REQUIRE(longest.size() == 253);
  CHECK(Canonical(longest) == longest);
  CHECK(Canonical(longest + ".") == longest);
  CHECK(Refused(longest + "b"));
  CHECK(Refused(std::string(100000, 'a')));
}

TEST_CASE("what is no name is refused") {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {""sv,       "."sv,    ".."sv,   "a..b"sv, ".a"sv,       "a.."sv,   "a b"sv,
        " a"sv,     "a\0b"sv, "a\0"sv,  "\0"sv,   "a\tb"sv,     "a\nb"sv,  "a\x7f"sv,
        "user@a"sv, "a\\b"sv, "a/b"sv,  "a%41"sv, "a:80"sv,     "a["sv,    "[a]"sv,
        "a?b"sv,    "a#b"sv,  "*.a"sv,  "a,b"sv,  "\xff\xfe"sv, "a\xc3"sv, "bücher\0.com"sv,
        "a／b"sv,   "a＠b"sv, "a：80"sv}) {
    INFO(text);
    CHECK(Refused(text));
  }
}

TEST_CASE("no spelling of an address is a name") {
  for (const std::string_view text : {"127.0.0.1",
                                      "127.0.0.1.",
                                      "127.1",
                                      "0x7f.1",
                                      "0X7F.1",
                                      "2130706433",
                                      "0177.0.0.1",
                                      "0",
                                      "017700000001",
                                      "0x7f000001",
                                      "1.2.3",
                                      "256.1.1.1",
                                      "1.2.3.4.5",
                                      "a.1",
                                      "a.0x1f",
                                      "0x",
                                      "::1",
                                      "[::1]",
                                      "fe80::1%eth0",
                                      "[fe80::1%25eth0]",
                                      "::ffff:1.2.3.4",
                                      "１２７.0.0.1",
                                      "127。0。0。1"}) {
    INFO(text);
    CHECK(Refused(text));
  }
}

TEST_CASE("a host is a name or an address in any spelling that resolvers read") {
  CHECK(CanonicalHost("Example.com.") == "example.com");
  CHECK(CanonicalHost("127.0.0.1") == "127.0.0.1");
  CHECK(CanonicalHost("127.0.0.1.") == "127.0.0.1");
  CHECK(CanonicalHost("127.1") == "127.0.0.1");
  CHECK(CanonicalHost("127.0.1") == "127.0.0.1");
  CHECK(CanonicalHost("0x7f.1") == "127.0.0.1");
  CHECK(CanonicalHost("0X7f000001") == "127.0.0.1");
  CHECK(CanonicalHost("2130706433") == "127.0.0.1");
  CHECK(CanonicalHost("0177.0.0.1") == "127.0.0.1");
  CHECK(CanonicalHost("017700000001") == "127.0.0.1");
  CHECK(CanonicalHost("127.65535") == "127.0.255.255");
  CHECK(CanonicalHost("0") == "0.0.0.0");
  CHECK(CanonicalHost("4294967295") == "255.255.255.255");
  CHECK(CanonicalHost("127。0。0。1") == "127.0.0.1");
  CHECK(CanonicalHost("[::1]") == "[::1]");
  CHECK(CanonicalHost("[2001:DB8:0::1]") == "[2001:db8::1]");
  for (const std::string_view text : {"",
                                      "4294967296",
                                      "256.1.1.1",
                                      "1.256.1.1",
                                      "127.65536.1",
                                      "08.1.1.1",
                                      "0x",
                                      "0xg",
                                      "1.2.3.4.5",
                                      "1..2",
                                      "a.1",
                                      "::1",
                                      "[::1",
                                      "::1]",
                                      "[]",
                                      "[127.0.0.1]",
                                      "[fe80::1%eth0]",
                                      "[fe80::1%25eth0]",
                                      "[v1.x]",
                                      "[::1]a",
                                      "99999999999999999999999",
                                      "1.2.3.",
                                      "1.2.3.4..",
                                      "-1",
                                      "+1.2.3.4",
                                      "1.-2.3.4",
                                      "0x-1.1"}) {
    INFO(text);
    // A few of these are names; none may be an address.
    const auto host = ParseHost(text);
    CHECK_FALSE((host && std::holds_alternative<IpAddress>(*host) && text != "1.2.3."));
  }
}

TEST_CASE("an authority is a host and perhaps a port") {
  const auto with_port = ParseAuthority("Example.com:8443");
  REQUIRE(with_port);
  CHECK(ToString(with_port->host) == "example.com");
  CHECK(with_port->port == 8443);
  const auto without = ParseAuthority("example.com");
  REQUIRE(without);
  CHECK_FALSE(without->port);
  const auto v6 = ParseAuthority("[::1]:443");
  REQUIRE(v6);
  CHECK(ToString(v6->host) == "[::1]");
  CHECK(v6->port == 443);
  for (const std::string_view text :
       {"",        ":80",   "a:",     "a:0",      "a:65536", "a:80:80", "a:x",
        "a: 80",   "a:+80", "user@a", "user:p@a", "::1",     "[::1]:",  "[::1]x",
        "[::1]:0", "a:80 ", "a:-1",   "[",        "]",       "]:80",    "a]:80"}) {
    INFO(text);
    CHECK_FALSE(ParseAuthority(text));
  }
}

TEST_CASE("a name lies below its zones and not below itself or a neighbour") {
  CHECK(Name("a.example.com").IsBelow(Name("example.com")));
  CHECK(Name("a.b.example.com").IsBelow(Name("example.com")));
  CHECK_FALSE(Name("example.com").IsBelow(Name("example.com")));
  CHECK_FALSE(Name("badexample.com").IsBelow(Name("example.com")));
  CHECK_FALSE(Name("com").IsBelow(Name("example.com")));
  CHECK(Name("a.b.c").Parent()->text() == "b.c");
  CHECK_FALSE(Name("c").Parent());
}

TEST_CASE("patterns match as they are written") {
  CHECK(Pattern("API.example.com.").Matches(Name("api.example.com")));
  CHECK_FALSE(Pattern("api.example.com").Matches(Name("x.api.example.com")));
  CHECK(Pattern("*.example.com").Matches(Name("a.b.example.com")));
  CHECK_FALSE(Pattern("*.example.com").Matches(Name("example.com")));
  CHECK_FALSE(Pattern("*.example.com").Matches(Name("anexample.com")));
  CHECK(HostPattern::Any().Matches(Name("anything")));
  CHECK(Pattern("*.Example.com").ToString() == "*.example.com");
  CHECK(Pattern("example.com").ToString() == "example.com");
  CHECK(HostPattern::Any().ToString() == "any");
}

TEST_CASE("a pattern covers another when it matches all that the other does") {
  const auto any = HostPattern::Any();
  CHECK(any.Covers(any));
  CHECK(any.Covers(Pattern("*.a.com")));
  CHECK_FALSE(Pattern("*.a.com").Covers(any));
  CHECK(Pattern("*.a.com").Covers(Pattern("*.a.com")));
  CHECK(Pattern("*.a.com").Covers(Pattern("*.b.a.com")));
  CHECK(Pattern("*.a.com").Covers(Pattern("b.a.com")));
  CHECK_FALSE(Pattern("*.a.com").Covers(Pattern("a.com")));
  CHECK_FALSE(Pattern("*.b.a.com").Covers(Pattern("*.a.com")));
  CHECK_FALSE(Pattern("b.a.com").Covers(Pattern("*.b.a.com")));
  CHECK(Pattern("a.com").Covers(Pattern("a.com")));
}

TEST_CASE("a wildcard in the wrong place is refused with what to write instead") {
  CHECK(PatternError("*").find("any (a value, without quotes)") != std::string::npos);
  CHECK(PatternError("*example.com").find("write '*.example.com'") != std::string::npos);
  CHECK(PatternError("api.*.example.com").find("write '*.example.com'") != std::string::npos);
  CHECK(PatternError("a*.example.com").find("write '*.example.com'") != std::string::npos);
  CHECK(PatternError("*.*.example.com").find("write '*.example.com'") != std::string::npos);
  for (const std::string_view text :
       {"*.", "**", "*.*", "example.*", "*.127.0.0.1", "127.0.0.1", ""}) {
    INFO(text);
    CHECK_FALSE(HostPattern::Parse(text));
  }
}

TEST_CASE("public suffixes are known") {
  for (const std::string_view text : {"com", "co.uk", "github.io", "unheard-of-tld"}) {
    CHECK(IsPublicSuffix(Name(text)));
  }
  for (const std::string_view text : {"example.com", "me.github.io", "a.co.uk", "db.internal"}) {
    CHECK_FALSE(IsPublicSuffix(Name(text)));
  }
}

}  // namespace
}  // namespace sallyport
