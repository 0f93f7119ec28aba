#include "base/proxy_url.h"

#include <catch2/catch.hpp>

namespace sallyport {
namespace {

TEST_CASE("a proxy is read as people write it") {
  const auto full = ProxyUrl::Parse("http://me:p%40ss%3Aw@Proxy.Example:3128/");
  REQUIRE(full);
  CHECK(full->Where() == "proxy.example:3128");
  CHECK(full->credentials == "me:p@ss:w");
  CHECK(ProxyUrl::Parse("proxy.example:3128")->Where() == "proxy.example:3128");
  CHECK(ProxyUrl::Parse("http://10.0.0.1")->Where() == "10.0.0.1:80");
  CHECK(ProxyUrl::Parse("http://[::1]:8080")->Where() == "[::1]:8080");
  CHECK(ProxyUrl::Parse("http://me@proxy.example")->credentials == "me:");
  CHECK(ProxyUrl::Parse("http://a@b:c@proxy.example:1")->credentials == "a@b:c");
}

TEST_CASE("what is no proxy is refused, and never quoted") {
  for (const char* text :
       {"", "http://", "socks5://hunter2@proxy:1080", "https://hunter2@proxy",
        "http://hunter2:80:80", "http://a:hunter2%@proxy", "http://a:hunter2%4@proxy",
        "http://a:hunter2%0a@proxy", "http://a:hunter2@", "http://hunter2 x", "http://proxy:0",
        "http://proxy/hunter2"}) {
    CAPTURE(text);
    const auto url = ProxyUrl::Parse(text);
    REQUIRE_FALSE(url);
    CHECK(url.error().code() == Code::kInvalid);
    CHECK(url.error().message().find("hunter2") == std::string::npos);
  }
}

}  // namespace
}  // namespace sallyport
