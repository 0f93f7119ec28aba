#include "guest/agent/environment.h"

#include <catch2/catch.hpp>

namespace sallyport::guest {
namespace {

using namespace std::string_literals;

TEST_CASE("root's account is found by its number") {
  const Account account =
      FindRoot("daemon:x:1:1::/:/bin/false\nadmin:x:0:0:The Root:/home/a:/bin/zsh\n");
  CHECK(account.name == "admin");
  CHECK(account.home == "/home/a");
  CHECK(account.shell == "/bin/zsh");
}

TEST_CASE("a passwd file of any kind gives an account that can be used") {
  for (const std::string& passwd :
       {""s, "\n\n"s, "root"s, "root:x"s, ":x:0:0::/h:/s\n"s, "root:x:00:0::/h:/s"s,
        "ro\0ot:x:0:0::/h:/s\n"s, std::string(10000, ':')}) {
    const Account account = FindRoot(passwd);
    CHECK(account.name == "root");
    CHECK(account.home == "/");
    CHECK(account.shell == "/bin/sh");
  }
  const Account partial = FindRoot("root:x:0:0::relative:");
  CHECK(partial.home == "/");
  CHECK(partial.shell == "/bin/sh");
}

TEST_CASE("the exec's variables replace the defaults, and the last of a name counts") {
  const Environment environment(
      {.argv = {"x"}, .env = {{"HOME", "/a"}, {"X", "1"}, {"HOME", "/b"}, {"PA", "no"}}}, {},
      GateCa::kNone);
  CHECK(environment.Get("HOME") == "/b");
  CHECK(environment.Get("X") == "1");
  CHECK(environment.Get("PATH").starts_with("/usr/local/sbin:"));
  CHECK(environment.Get("TERM").empty());
  int homes = 0;
  for (const std::string& entry : environment.entries())
    homes += entry.starts_with("HOME=") ? 1 : 0;
  CHECK(homes == 1);
}

TEST_CASE("every variable of docs/trust.md is set, and what replaces roots names all roots") {
  const Environment environment({.argv = {"x"}, .tty = true}, {}, GateCa::kInFiles);
  for (const char* name :
       {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
        "NIX_SSL_CERT_FILE", "NPM_CONFIG_CAFILE", "YARN_HTTPS_CA_FILE_PATH", "BUNDLE_SSL_CA_CERT",
        "COMPOSER_CAFILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HEX_CACERTS_PATH",
        "PERL_LWP_SSL_CA_FILE"}) {
    INFO(name);
    CHECK(environment.Get(name) == "/run/sallyport/ca-bundle.pem");
  }
  for (const char* name : {"NODE_EXTRA_CA_CERTS", "DENO_CERT"}) {
    CHECK(environment.Get(name) == "/run/sallyport/ca.pem");
  }
  CHECK(environment.Get("DENO_TLS_CA_STORE") == "system");
  CHECK(environment.Get("SSL_CERT_DIR") == "/etc/ssl/certs");
  CHECK(environment.Get("UV_NATIVE_TLS") == "true");
  CHECK(environment.Get("UV_SYSTEM_CERTS") == "true");
  CHECK(environment.Get("TERM") == "xterm");
}

}  // namespace
}  // namespace sallyport::guest
