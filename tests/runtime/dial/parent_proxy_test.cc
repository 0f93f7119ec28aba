#include "runtime/dial/parent_proxy.h"

#include <catch2/catch.hpp>

namespace sallyport::runtime {
namespace {

Host At(const char* text) {
  return *ParseHost(text);
}

ProxySpec Written(std::string url, std::vector<std::string> no_proxy = {}) {
  ProxySpec spec;
  spec.url = std::move(url);
  spec.no_proxy = std::move(no_proxy);
  return spec;
}

ProxySpec From(ProxySpec::From from) {
  ProxySpec spec;
  spec.from = from;
  return spec;
}

TEST_CASE("a request for a tunnel names its target, and carries the credentials of the URL") {
  const auto plain = ParentProxy::Make(Written("http://proxy.example:3128"), {});
  REQUIRE(plain);
  CHECK((*plain)->Where() == "proxy.example:3128");
  CHECK_FALSE((*plain)->has_credentials());
  CHECK((*plain)->Request(At("api.example"), 443) ==
        "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
  CHECK((*plain)->Request(At("[2600::1]"), 22) ==
        "CONNECT [2600::1]:22 HTTP/1.1\r\nHost: [2600::1]:22\r\n\r\n");
  const auto named =
      ParentProxy::Make(From(ProxySpec::From::kSource), {"http://me:p%40ss@proxy.example:3128/"});
  REQUIRE(named);
  CHECK((*named)->has_credentials());
  CHECK((*named)->Request(At("api.example"), 443) ==
        "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
        "Proxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n");
}

TEST_CASE("the environment's variables are those that programs read, small letters first") {
  const ProxySpec spec = From(ProxySpec::From::kEnvironment);
  REQUIRE(spec.Sources().size() == 4);
  const auto none = ParentProxy::Make(spec, {"", "", "a.example", ""});
  REQUIRE(none);
  CHECK(*none == nullptr);
  const auto both = ParentProxy::Make(
      spec, {"http://small.example:1", "http://LARGE.example:2", "", "corp.example"});
  REQUIRE(both);
  CHECK((*both)->Where() == "small.example:1");
  CHECK((*both)->Skips(At("api.corp.example"), 443));
  CHECK_FALSE((*both)->Skips(At("api.example"), 443));
  const auto large = ParentProxy::Make(spec, {"", "large.example:2", "x.example", "corp.example"});
  REQUIRE(large);
  CHECK((*large)->Where() == "large.example:2");
  CHECK_FALSE((*large)->Skips(At("corp.example"), 443));
}

TEST_CASE("a URL that is none says so without being quoted") {
  for (const char* text : {"", "https://me:hunter2@proxy", "http://me:hunter2@", "hunter2 x"}) {
    const auto made = ParentProxy::Make(From(ProxySpec::From::kSource), {text});
    REQUIRE_FALSE(made);
    CHECK(made.error().message().find("hunter2") == std::string::npos);
  }
}

TEST_CASE("what only this host can mean goes past the proxy, and what no_proxy names") {
  const auto made = ParentProxy::Make(
      Written("http://p:1", {"*.corp.example", "10.0.0.0/8", "one.example:22"}), {});
  REQUIRE(made);
  const ParentProxy& proxy = **made;
  for (const char* host : {"localhost", "a.localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]",
                           "169.254.169.254", "[fe80::1]", "10.1.2.3", "a.corp.example"}) {
    CAPTURE(host);
    CHECK(proxy.Skips(At(host), 443));
  }
  for (const char* host :
       {"example.com", "192.168.0.1", "11.0.0.1", "corp.example", "one.example"}) {
    CAPTURE(host);
    CHECK_FALSE(proxy.Skips(At(host), 443));
  }
  CHECK(proxy.Skips(At("one.example"), 22));
  CHECK(proxy.Takes(*HostName::Parse("one.example")));
  CHECK_FALSE(proxy.Takes(*HostName::Parse("a.corp.example")));
}

}  // namespace
}  // namespace sallyport::runtime
