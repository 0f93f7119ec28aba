#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

TEST_CASE("the sandbox block is read") {
  Policy policy(
      R"(sandbox { image = "debian:12-slim", cpus = 2, memory = "2GiB", workdir = "/work", hostname = "box",
                             isolation = "vm", timeout = "30s", network = false,
                             mounts = { { "./work", "/work", mode = "rw" }, { "/etc/x", "/x" }, { "../y", "/y", mode = "ro" },
                                        { "./npmrc", "/root/.npmrc", template = true } },
                             env = { B = "2", A = "1" } })");
  const SandboxOptions& sandbox = policy.engine().sandbox();
  CHECK(sandbox.image == "debian:12-slim");
  CHECK(sandbox.cpus == 2u);
  CHECK(sandbox.memory == uint64_t{2} << 30);
  CHECK(sandbox.workdir == "/work");
  CHECK(sandbox.hostname == "box");
  CHECK(sandbox.isolation == "vm");
  CHECK(sandbox.timeout == std::chrono::seconds(30));
  CHECK_FALSE(sandbox.network);
  REQUIRE(sandbox.mounts.size() == 4);
  CHECK(sandbox.mounts[0].source == "/home/me/project/work");
  CHECK(sandbox.mounts[0].target == "/work");
  CHECK(sandbox.mounts[0].writable);
  CHECK(sandbox.mounts[1].source == "/etc/x");
  CHECK_FALSE(sandbox.mounts[1].writable);
  CHECK(sandbox.mounts[2].source == "/home/me/y");
  CHECK_FALSE(sandbox.mounts[2].is_template);
  CHECK(sandbox.mounts[3].is_template);
  CHECK(sandbox.env == std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"B", "2"}});
}

TEST_CASE("a resolver in a range for made-up addresses is warned about") {
  CHECK(Contains(Diagnose("dns { resolvers = { '198.18.0.2' } }"),
                 "policy.lua:1: warning: dns: the resolver 198.18.0.2 has a reserved address"));
  CHECK(Diagnose("dns { resolvers = { '1.1.1.1', '192.168.1.1', '127.0.0.53' } }").empty());
  CHECK(Policy("dns { answers = 'real' }").engine().dns().answers == DnsOptions::Answers::kReal);
  CHECK(Policy("dns { answers = 'synthetic' }").engine().dns().answers ==
        DnsOptions::Answers::kSynthetic);
}

TEST_CASE("the sandbox block is checked") {
  CheckMistakes({
      {"sandbox { cpus = 0 }", "a whole number from 1 to 1024"},
      {"sandbox { cpus = 1.5 }", "a whole number"},
      {"sandbox { memory = '2GB' }", "a size like"},
      {"sandbox { memory = '99999999999999GiB' }", "a size like"},
      {"sandbox { memory = 5 }", "must be a string"},
      {"sandbox { timeout = 'soon' }", "a duration like"},
      {"sandbox { timeout = '0s' }", "a duration like"},
      {"sandbox { workdir = 'work' }", "absolute path"},
      {"sandbox { workdir = '/a/../b' }", "absolute path"},
      {"sandbox { hostname = 'a b' }", "must be a name"},
      {"sandbox { isolation = 'vmm' }", "did you mean 'vm'?"},
      {"sandbox { network = 1 }", "true or false"},
      {"sandbox { mounts = { './x' } }", "a list of mounts"},
      {"sandbox { mounts = { { './x' } } }", "a mount is written"},
      {"sandbox { mounts = { { './x', 'x' } } }", "must be an absolute path"},
      {"sandbox { mounts = { { './x', '/' } } }", "must be an absolute path below"},
      {"sandbox { mounts = { { './x', '//' } } }", "must be an absolute path below"},
      {"sandbox { mounts = { { './x', '/a/./b' } } }", "must be an absolute path"},
      {"sandbox { mounts = { { './x', '/a/../b' } } }", "must be an absolute path"},
      {"sandbox { mounts = { { './x', '/x', mode = 'wr' } } }", "did you mean 'rw'?"},
      {"sandbox { mounts = { { './x', '/x', mode = 'rw', template = true } } }", "copied into"},
      {"sandbox { mounts = { { './x', '/x', template = 'yes' } } }", "true or false"},
      {"sandbox { mounts = { { './x', '/x', moed = 'rw' } } }", "did you mean 'mode'?"},
      {"sandbox { mounts = { { './x', '/x' }, { './y', '/x' } } }", "two mounts"},
      {"sandbox { mounts = { { './x', '/x/z' }, { './y', '//x//z/' } } }", "two mounts at '/x/z'"},
      {"sandbox { mounts = { { './x', '/x', 'rw' } } }", "a value without a name"},
      {"sandbox { env = { ['A B'] = '1' } }", "is not the name of a variable"},
      {"sandbox { env = { A = 1 } }", "'env' must be"},
      {"sandbox { env = { 'A=1' } }", "without a name"},
      {"local t = secret 'A' { from = env 'A', hosts = 'a.example' }\nsandbox { env = { A = t } }",
       "variable of the secret's own name"},
      {"sandbox {}\nsandbox {}", "'sandbox' stands twice; the first is at policy.lua:1"},
      {"sandbox 'x'", "takes one table"},
  });
}

TEST_CASE("the dns and upstream blocks are read and checked") {
  Policy policy(
      R"(dns { resolvers = { "1.1.1.1", "[2001:db8::1]:5353" }, families = "both", unlisted = "nxdomain", answers = "synthetic" }
                   upstream { ca = { "ca.pem", "/etc/ca.pem" } })");
  REQUIRE(policy.engine().dns().resolvers.size() == 2);
  CHECK(policy.engine().dns().resolvers[0].ToString() == "1.1.1.1:53");
  CHECK(policy.engine().dns().resolvers[1].ToString() == "[2001:db8::1]:5353");
  CHECK(policy.engine().dns().synthesize_v6);
  CHECK(policy.engine().dns().unlisted == DnsOptions::Unlisted::kNxdomain);
  CHECK(policy.engine().upstream().ca_files ==
        std::vector<std::string>{"/home/me/project/ca.pem", "/etc/ca.pem"});
  CheckMistakes({
      {"dns { resolvers = 'dns.google' }", "is not an address"},
      {"dns { families = 'v6' }", "it is one of \"v4\", \"both\""},
      {"dns { unlisted = 'explan' }", "did you mean 'explain'?"},
      {"dns { resolver = '1.1.1.1' }", "did you mean 'resolvers'?"},
      {"upstream { ca = 5 }", "must be a string"},
      {"upstream { cas = 'x' }", "did you mean 'ca'?"},
      {"upstream { pin = 'x' }", "belongs to a host, as in upstream \"api.example.com\""},
      {"upstream { ca = 'x' }\nupstream { ca = 'y' }", "'upstream' stands twice"},
      {"upstream 'a.example'", "without its table"},
      {"upstream 'a b' { ca = 'x' }", "it has a ' '"},
      {"upstream 'a.example' 'x'", "takes one table"},
      {"upstream 'a.example' { pins = 'x' }", "did you mean 'pin'?"},
      {"upstream 'a.example' { pin = 'sha256/AAAA' }", "base64 of 32 bytes"},
      {"upstream 'a.example' { pin = 'sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=' }",
       "base64 of 32 bytes"},
      {"upstream 'a.example' { pin = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }",
       "base64 of 32 bytes"},
      {"upstream 'a.example' { client_cert = 'c.pem' }", "key = file"},
      {"upstream 'a.example' { client_cert = { cert = 'c.pem' } }", "is written"},
      {"upstream 'a.example' { client_cert = { cert = 'c.pem', key = 'k.pem' } }", "is written"},
      {"upstream 'a.example' { client_cert = { cert = 'c.pem', key = env 'K' } }", "is written"},
      {"upstream '*.b.example' { ca = 'x' }\nupstream 'a.b.example' { ca = 'x' }",
       "policy.lua:2: error: upstream \"a.b.example\": has no effect: policy.lua:1"},
      {"allow.http { host = 'a.example', tls = 'passthrough' }\n"
       "upstream 'a.example' { ca = 'x' }",
       "upstream block policy.lua:2 has no effect"},
  });
  Policy plain("");
  CHECK(plain.engine().dns().resolvers.empty());
  CHECK_FALSE(plain.engine().dns().synthesize_v6);
  CHECK(plain.engine().dns().unlisted == DnsOptions::Unlisted::kExplain);
}

TEST_CASE("the proxy that the host is behind is read, and its password is not for the file") {
  Policy written(
      R"(upstream { proxy = "http://proxy.corp.example:3128", no_proxy = { "*.corp.example", "10.0.0.0/8" } })");
  REQUIRE(written.engine().upstream().proxy);
  const ProxySpec& proxy = *written.engine().upstream().proxy;
  CHECK(proxy.from == ProxySpec::From::kPolicy);
  CHECK(proxy.url == "http://proxy.corp.example:3128");
  CHECK(proxy.no_proxy == std::vector<std::string>{"*.corp.example", "10.0.0.0/8"});
  CHECK(proxy.declared_at == "policy.lua:1");
  CHECK(proxy.Sources().empty());
  Policy named(R"(upstream { proxy = env "HTTPS_PROXY" })");
  REQUIRE(named.engine().upstream().proxy);
  CHECK(named.engine().upstream().proxy->from == ProxySpec::From::kSource);
  CHECK(std::get<EnvSource>(named.engine().upstream().proxy->source).variable == "HTTPS_PROXY");
  Policy environment(R"(upstream { proxy = "environment" })");
  REQUIRE(environment.engine().upstream().proxy);
  CHECK(environment.engine().upstream().proxy->from == ProxySpec::From::kEnvironment);
  CHECK_FALSE(Policy("upstream { ca = 'x.pem' }").engine().upstream().proxy);
  CheckMistakes({
      {"upstream { proxi = 'http://p:1' }", "did you mean 'proxy'?"},
      {"upstream { proxy = 'enviroment' }", "did you mean 'environment'?"},
      {"upstream { proxy = 5 }", "must be a string"},
      {"upstream { proxy = 'p.example:3128' }", "a URL like"},
      {"upstream { proxy = 'https://p.example' }", "only http:// proxies"},
      {"upstream { proxy = 'http://me:hunter2@p.example' }", "don't stand in a policy"},
      {"upstream { proxy = command { 'x' } }", "a URL like"},
      {"upstream { no_proxy = 'a.example' }", "without 'proxy'"},
      {"upstream { proxy = 'http://p:1', no_proxy = 'a.*.b' }", "whole first label"},
      {"upstream { proxy = 'http://p:1', no_proxy = '10.0.0.1/8' }", "'no_proxy': '10.0.0.1/8'"},
      {"upstream { proxy = 'http://p:1', no_proxy = 'a.example:x' }", "no port"},
      {"upstream 'a.example' { proxy = 'http://p:1' }", "is about all hosts"},
  });
}

TEST_CASE("upstream blocks about hosts are read") {
  Policy policy(R"(
    upstream { ca = "all.pem" }
    upstream "api.corp.example" { ca = "corp.pem",
      pin = { "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
              "sha256///////////////////////////////////////////8=" },
      client_cert = { cert = "c.pem", key = file "key.pem" } }
    upstream "*.corp.example" { ca = { "/a.pem", "b.pem" } })");
  const UpstreamOptions& options = policy.engine().upstream();
  CHECK(options.ca_files == std::vector<std::string>{"/home/me/project/all.pem"});
  REQUIRE(options.servers.size() == 2);
  const auto& api = options.servers[0];
  CHECK(api.host.ToString() == "api.corp.example");
  CHECK(api.declared_at == "policy.lua:3");
  CHECK(api.ca_files == std::vector<std::string>{"/home/me/project/corp.pem"});
  REQUIRE(api.pins.size() == 2);
  for (size_t i = 0; i < 32; ++i) CHECK(api.pins[0][i] == static_cast<char>(i));
  CHECK(api.pins[1] == std::string(32, '\xff'));
  REQUIRE(api.client_cert);
  CHECK(api.client_cert->cert_file == "/home/me/project/c.pem");
  CHECK(api.client_cert->key_file == "/home/me/project/key.pem");
  CHECK(options.servers[1].ca_files.size() == 2);
}

}  // namespace
}  // namespace sallyport::policy
