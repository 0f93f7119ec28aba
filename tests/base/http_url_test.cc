#include "base/http_url.h"

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

TEST_CASE("a URL is taken apart into what is dialled and what is asked for") {
  const auto url = HttpUrl::Parse("https://ID.Example.com:8443/a/b?c=d");
  REQUIRE(url);
  CHECK(url->tls);
  CHECK(ToString(url->host) == "id.example.com");
  CHECK(url->port == 8443);
  CHECK(url->target == "/a/b?c=d");
  CHECK(url->Authority() == "id.example.com:8443");
  CHECK(url->ToString() == "https://id.example.com:8443/a/b?c=d");
}

TEST_CASE("a URL without port and path has those of its scheme") {
  CHECK(HttpUrl::Parse("https://a.example")->ToString() == "https://a.example/");
  CHECK(HttpUrl::Parse("https://a.example?q")->target == "/?q");
  const auto plain = HttpUrl::Parse("http://[::1]/");
  REQUIRE(plain);
  CHECK(plain->port == 80);
  CHECK(plain->Authority() == "[::1]");
  CHECK(HttpUrl::Parse("http://a.example:443/")->Authority() == "a.example:443");
}

TEST_CASE("what is no URL of a server is refused") {
  for (const char* text :
       {"", "a.example", "ftp://a.example/", "https:/a.example", "https://", "https:///x",
        "https://u@a.example/", "https://a.example:0/", "https://a.example:/", "https://a b/",
        "https://a.example/\r\nX: y", "https://a.example/#part", "https://a.example/\x7f"}) {
    CAPTURE(text);
    CHECK_FALSE(HttpUrl::Parse(text));
  }
}

}  // namespace
}  // namespace sallyport
