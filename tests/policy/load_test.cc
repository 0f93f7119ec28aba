#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

struct Mistake {
  std::string text;
  const char* message;  // A piece of what is said about it.
};

void CheckMistakes(std::initializer_list<Mistake> mistakes) {
  for (const Mistake& mistake : mistakes) {
    INFO(mistake.text);
    const std::string said = Diagnose(mistake.text);
    CHECK_THAT(said, Catch::Contains(": error: ") && Catch::Contains(mistake.message));
    CHECK(Load(mistake.text).engine == nullptr);
  }
}

TEST_CASE("a mistake is told with file, line and the nearest word") {
  CHECK(Diagnose("\n\nallow.http { hots = \"a.example\" }") ==
        "policy.lua:3: error: unknown field 'hots' of allow.http; did you mean 'host'?\n"
        "policy.lua:3: error: allow.http: needs a 'host' (for names) or an 'ip' (for addresses)\n");
}

TEST_CASE("all mistakes are told at once") {
  const std::string said = Diagnose(R"(allow.htpp { host = "a.example" }
alow.http { host = "a.example" }
sandbox { imagee = "x" }
secret "A"
allow.tcp { host = "b.example", port = 70000 })");
  CHECK(Contains(said,
                 "policy.lua:1: error: there is no allow.htpp; it is one of http, tcp, udp, dns; "
                 "did you mean 'http'?"));
  CHECK(Contains(said, "policy.lua:2: error: undeclared name 'alow'; did you mean 'allow'?"));
  CHECK(Contains(said,
                 "policy.lua:3: error: unknown field 'imagee' of sandbox; did you mean 'image'?"));
  CHECK(Contains(said, "policy.lua:4: error: secret \"A\" without its table"));
  CHECK(Contains(said, "policy.lua:5: error: allow.tcp: 'port' must be"));
}

TEST_CASE("errors of Lua end loading with their line") {
  CHECK_THAT(Diagnose("\nallow.http {"),
             Catch::Contains("policy.lua:2: error: unexpected symbol near <eof>"));
  CHECK_THAT(Diagnose("\n\nerror('boom')"), Catch::Contains("policy.lua:3: error: boom"));
  CHECK_THAT(Diagnose("\nlocal x = nil\nx.y = 1"),
             Catch::Contains("policy.lua:3: error: attempt to index a nil value"));
  CHECK_THAT(Diagnose("error({})"), Catch::Contains("the error is not a string"));
  CHECK_THAT(Diagnose("\x1bLua"), Catch::Contains("error"));
  CHECK(Contains(Diagnose(std::string(2 << 20, ' ')), "longer than 1 MiB"));
}

TEST_CASE("hosts that are none are told with what to write") {
  CheckMistakes({
      {"allow.http { host = '*' }", "any (a value, without quotes)"},
      {"allow.http { host = 'any' }", "without quotes"},
      {"allow.http { host = 'api.*.com' }", "whole first label"},
      {"allow.http { host = '127.0.0.1' }", "write ip = \"127.0.0.1\""},
      {"allow.http { host = '0x7f.1' }", "write ip = \"127.0.0.1\""},
      {"allow.http { host = 'a.example:8443' }", "port = 8443"},
      {"allow.http { host = 'https://a.example/x' }", "is a URL"},
      {"allow.http { host = 'a.example/x' }", "a path is written path"},
      {"allow.http { host = '10.0.0.0/8' }", "is a CIDR"},
      {"allow.http { host = '' }", "it is empty"},
      {"allow.http { host = 'a b' }", "it has a ' '"},
      {"allow.http { host = {} }", "empty list"},
      {"allow.http { host = { 'a.example', 5 } }", "must be a name or a list of names, not 5"},
      {"allow.http { host = { x = 'a.example' } }", "must be one value or a list"},
      {"allow.http { 'a.example' }", "a value without a name"},
      {"allow.http 'a.example'", "takes one table"},
      {"allow.http()", "takes one table"},
      {"allow { host = 'a.example' }", "write allow.http"},
      {"allow.http { port = 80 }", "needs a 'host'"},
      {"allow.dns { types = 'TXT' }", "needs a 'host'"},
  });
}

TEST_CASE("every field of a rule is checked") {
  CheckMistakes({
      {"allow.tcp { ip = '10.0.0.1/8' }", "write '10.0.0.0/8'"},
      {"allow.tcp { ip = '10.0.0.0/33' }", "is not an address, a CIDR or a group"},
      {"allow.tcp { ip = 'privat' }", "did you mean 'private'?"},
      {"allow.tcp { ip = 'a.example' }", "a name is written host"},
      {"allow.tcp { ip = 5 }", "must be an address"},
      {"allow.tcp { host = 'a.example', resolves_to = 'loopback' }",
       "never reached through a name"},
      {"allow.tcp { host = 'a.example', resolves_to = '169.254.169.254' }",
       "never reached through a name"},
      {"allow.tcp { host = 'a.example', resolves_to = 'fe80::/10' }",
       "never reached through a name"},
      {"allow.tcp { ip = '10.0.0.1', resolves_to = 'private' }", "has no 'host'"},
      {"allow.tcp { host = 'a.example', port = 0 }", "'port' must be"},
      {"allow.tcp { host = 'a.example', port = '80' }", "'port' must be"},
      {"allow.tcp { host = 'a.example', port = 80.5 }", "'port' must be"},
      {"allow.tcp { host = 'a.example', port = { { 80, 90 } } }", "{ from = 8000, to = 8010 }"},
      {"allow.tcp { host = 'a.example', port = { from = 90, to = 80 } }", "'from' is greater"},
      {"allow.tcp { host = 'a.example', port = { from = 90 } }", "needs both 'from' and 'to'"},
      {"allow.tcp { host = 'a.example', port = { fron = 90, to = 91 } }", "did you mean 'from'?"},
      {"allow.http { host = 'a.example', method = 'get' }", "did you mean 'GET'?"},
      {"allow.http { host = 'a.example', method = 'G T' }", "is not a method"},
      {"allow.http { host = 'a.example', method = 5 }", "must be a string or a list of strings"},
      {"allow.http { host = 'a.example', path = 'user' }", "write '/user'"},
      {"allow.http { host = 'a.example', path = '/a**' }", "whole segment"},
      {"allow.http { host = 'a.example', path = '/a?x=1' }", "'?'"},
      {"allow.http { host = 'a.example', header = { ['a b'] = 'x' } }", "is not a header's name"},
      {"allow.http { host = 'a.example', header = { a = 5 } }", "'header' must be"},
      {"allow.http { host = 'a.example', header = { a = {} } }", "is empty"},
      {"allow.http { host = 'a.example', header = 'a' }", "must be a table"},
      {"allow.http { host = 'a.example', otherwise = 'no' }", "can never apply"},
      {"allow.http { host = 'a.example', path = '/x', otherwise = 5 }", "must be a string"},
      {"allow.http { host = 'a.example', reason = '' }", "must have 1 to 500 bytes"},
      {"allow.http { host = 'a.example', name = {} }", "must be a string"},
      {"allow.tcp { host = 'a.example', to = 'a b' }", "must be \"host:port\""},
      {"allow.tcp { host = 'a.example', to = 'a:0' }", "must be \"host:port\""},
      {"allow.dns { host = 'a.example', types = 'TEXT' }", "did you mean 'TXT'?"},
      {"allow.dns { host = 'a.example', types = 'ANY' }", "is not a record type"},
      {"allow.http { host = 'a.example', tls = 'intercpt' }", "did you mean 'intercept'?"},
      {"allow.http { host = 'a.example', rate = '100' }", "'rate' must be like \"100/min\""},
      {"allow.http { host = 'a.example', rate = '0/s' }", "'rate' must be like"},
      {"allow.http { host = 'a.example', rate = 5 }", "'rate' must be a string"},
      {"allow.tcp { host = 'a.example', bytes = {} }", "is written { up = \"10MiB\""},
      {"allow.tcp { host = 'a.example', bytes = '1MiB' }", "'bytes' must be { up = \"10MiB\""},
      {"allow.tcp { host = 'a.example', bytes = { upp = '1MiB' } }", "did you mean 'up'?"},
      {"allow.tcp { host = 'a.example', bytes = { up = '0B' } }", "'up' must be a size"},
      {"allow.tcp { host = 'a.example', connections = 0 }", "'connections' must be"},
      {"allow.udp { host = 'a.example', lifetime = '1 day' }", "'lifetime' must be a duration"},
      {"deny.http { host = 'a.example', rate = '1/s' }", "belongs to allow.http, not to a deny"},
      {"deny.dns { host = 'a.example', rate = '1/s' }", "belongs to allow.dns, not to a deny"},
      {"allow.dns { host = 'a.example', connections = 1 }", "does not belong to dns rules"},
      {"sandbox { rate = 'often' }", "'rate' must be like"},
      {"sandbox { lifetime = '1h' }", "unknown field 'lifetime'"},
  });
}

TEST_CASE("what depends on seeing requests is an error for a host that is passed through") {
  const std::string passed = "allow.http { host = 'a.example', tls = 'passthrough' }";
  CheckMistakes({
      {"allow.http { host = 'a.example', tls = 'passthrough', path = '/x' }",
       "policy.lua:1: error: allow.http: 'path' has no effect"},
      {"allow.http { host = 'a.example', tls = 'passthrough', method = 'GET' }", "'method' has no"},
      {"allow.http { host = 'a.example', tls = 'passthrough', header = { a = any } }",
       "'header' has no"},
      {"allow.http { host = 'a.example', tls = 'passthrough', otherwise = 'no' }",
       "'otherwise' has no"},
      {"allow.http { ip = '10.0.0.1', tls = 'passthrough' }", "can't have an 'ip'"},
      {"allow.http { host = 'a.example', path = '/x' }\n" + passed,
       "policy.lua:2: error: the gate does not see the requests of 'a.example'"},
      {"deny.http { host = '*.example', path = '/x' }\n" + passed, "policy.lua:1"},
      {passed + "\nallow.http { host = 'a.example', port = { 443, 8443 }, path = '/x' }",
       "policy.lua:2: error: the gate does not see"},
      {passed + "\ndeny.http { host = 'a.example', path = '/x' }", "has no effect on 'a.example'"},
      {passed + "\nsecret 'A' { from = env 'A', hosts = { 'z.example', 'a.example' } }",
       "the secret A (policy.lua:2)"},
      {passed + "\non.request('a.example', function() end)", "hook policy.lua:2 for 'a.example'"},
      {"allow.http { host = '*.example', tls = 'passthrough' }\n"
       "on.request('a.example', function() end)",
       "hook policy.lua:2"},
  });
  CHECK(Contains(Diagnose(passed + "\non.request(function() end)"), "warning: the on.request hook"));
}

TEST_CASE("rules for other hosts or ports stand beside one that passes through") {
  const std::string passed = "allow.http { host = 'a.b.example', tls = 'passthrough' }\n";
  CHECK(Diagnose(passed) == "");
  CHECK(Diagnose(passed + "allow.http { host = 'c.example', path = '/x' }") == "");
  CHECK(Diagnose(passed + "allow.http { host = '*.b.example', path = '/x' }") == "");
  CHECK(Diagnose(passed + "allow.http { host = 'a.b.example', port = 8443, path = '/x' }") == "");
  CHECK(Diagnose(passed + "secret 'A' { from = env 'A', hosts = 'a.b.example', ports = 8443 }") ==
        "");
  CHECK(Diagnose("allow.http { host = 'a.b.example', path = '/x', otherwise = 'no' }\n"
                 "allow.http { host = '*.b.example', tls = 'passthrough' }") == "");
}

TEST_CASE("a field of another kind of rule is told as that") {
  CheckMistakes({
      {"allow.tcp { host = 'a.example', method = 'GET' }", "'method' belongs to http rules only"},
      {"allow.udp { host = 'a.example', path = '/x' }", "'path' belongs to http rules only"},
      {"deny.http { host = 'a.example', otherwise = 'x' }", "belongs to allow.http, not to a deny"},
      {"deny.tcp { host = 'a.example', to = 'x:1' }", "belongs to allow.tcp, not to a deny"},
      {"deny.tcp { host = 'a.example', resolves_to = 'private' }",
       "belongs to allow.tcp, not to a deny"},
      {"allow.dns { host = 'a.example', ip = '10.0.0.1' }", "does not belong to dns rules"},
      {"allow.dns { host = 'a.example', port = 53 }", "does not belong to dns rules"},
      {"allow.http { host = 'a.example', types = 'TXT' }", "belongs to allow.dns only"},
  });
}

TEST_CASE("what is not available yet says so") {
  CheckMistakes({
      {"ask.dns { host = 'a.example' }", "a name can't wait for an answer"},
      {"ask { host = 'a.example' }", "ask needs to know what"},
      {"allow.icmp { host = 'a.example' }", "allow.icmp is not available in this version"},
      {"dns { answers = 'real' }", "not available in this version"},
      {"fetch { url = 'x' }", "fetch is for callbacks"},
      {"sleep '1s'", "sleep is for callbacks"},
      {"store.get 'x'", "store is for callbacks"},
      {"on.reponse(function() end)", "did you mean 'response'"},
  });
}

TEST_CASE("names of other Lua programs are refused with a hint") {
  CheckMistakes({
      {"print('x')", "write log.info"},
      {"os.execute('x')", "not available in a policy"},
      {"io.open('x')", "not available in a policy"},
      {"require 'x'", "can't load code"},
      {"load 'x'", "can't load code"},
      {"dofile 'x'", "can't load code"},
      {"collectgarbage()", "not available in a policy"},
      {"coroutine.wrap(1)", "not available in a policy"},
      {"debug.sethook()", "not available in a policy"},
      {"package.path = 'x'", "not available in a policy"},
      {"local x = scret", "did you mean 'secret'?"},
  });
}

TEST_CASE("an undeclared name is told once, not again where it is used") {
  CHECK(Diagnose("allow.http { host = hots_list, port = nope }") ==
        "policy.lua:1: error: undeclared name 'hots_list'\n"
        "policy.lua:1: error: undeclared name 'nope'\n"
        "policy.lua:1: error: allow.http: needs a 'host' (for names) or an 'ip' (for addresses)\n");
}

TEST_CASE("a deny that an earlier, wider rule hides is an error") {
  CheckMistakes({
      {"allow.http { host = '*.a.example' }\ndeny.http { host = 'x.a.example' }",
       "policy.lua:2: error: deny.http has no effect on 'x.a.example': the earlier rule "
       "policy.lua:1 (allow.http)"},
      {"allow.http { host = 'a.example' }\ndeny.http { host = 'a.example', path = '/admin' }",
       "has no effect"},
      {"allow.http { host = 'a.example', path = '/x/**' }\ndeny.http { host = 'a.example', path = "
       "'/x/y' }",
       "has no effect"},
      {"allow.http { host = any }\ndeny.http { host = 'a.example' }", "has no effect"},
      {"allow.http { host = 'a.example' }\ndeny.tcp { host = 'a.example', port = 443 }",
       "has no effect"},
      {"allow.tcp { host = 'a.example' }\ndeny.tcp { host = 'a.example', port = 22 }",
       "has no effect"},
      {"allow.tcp { ip = '10.0.0.0/8' }\ndeny.tcp { ip = '10.1.0.0/16' }",
       "has no effect on 10.1.0.0/16"},
      {"allow.tcp { ip = 'public' }\ndeny.tcp { ip = '8.8.8.0/24' }",
       "has no effect on 8.8.8.0/24"},
      {"allow.tcp { ip = 'private' }\ndeny.tcp { ip = 'private', port = 22 }", "has no effect"},
      {"allow.http { host = 'a.example' }\ndeny.dns { host = 'a.example' }", "has no effect"},
      {"allow.http { host = '*.example' }\nallow.http { host = 'a.example', method = 'GET', "
       "otherwise = 'reads' }",
       "the 'otherwise' of allow.http has no effect"},
  });
}

TEST_CASE("a rule that can never apply without harm is a warning") {
  for (const char* text :
       {"deny.http { host = '*.a.example' }\nallow.http { host = 'x.a.example' }",
        "allow.http { host = 'a.example' }\nallow.http { host = 'a.example', path = '/x' }",
        "deny.dns { host = 'a.example' }\nallow.tcp { host = 'a.example', port = 22 }"}) {
    INFO(text);
    CHECK_THAT(Diagnose(text),
               Catch::Contains("policy.lua:2: warning:") && Catch::Contains("can never apply"));
    CHECK(Load(text).engine != nullptr);
  }
}

TEST_CASE("rules that complete each other are silent") {
  for (const char* text :
       {"deny.http { host = 'x.a.example' }\nallow.http { host = '*.a.example' }",
        "allow.http { host = 'a.example', path = '/x' }\nallow.http { host = 'a.example', path = "
        "'/y' }",
        "allow.http { host = 'a.example', method = 'GET' }\nallow.http { host = 'a.example' }",
        "allow.tcp { host = 'a.example', port = 22 }\nallow.http { host = 'a.example' }",
        "allow.tcp { ip = '8.8.8.8' }\nallow.tcp { ip = 'public', port = 1 }",
        "allow.http { host = 'a.example', path = '/x/**' }\ndeny.http { host = 'a.example', path = "
        "'/xy' }"}) {
    INFO(text);
    CHECK(Diagnose(text).empty());
  }
}

TEST_CASE("raw bytes over a host whose requests are to be seen are an error") {
  CheckMistakes({
      {"allow.http { host = 'a.example', path = '/x' }\nallow.tcp { host = 'a.example' }",
       "which has http rules (policy.lua:1)"},
      {"allow.tcp { host = '*.example', port = 443 }\nallow.http { host = 'a.example' }",
       "which has http rules (policy.lua:2)"},
      {"secret 'A' { from = env 'A', hosts = 'a.example' }\nallow.tcp { host = any, port = 443 }",
       "the secret A"},
      {"on.request('a.example', function() end)\nallow.tcp { host = 'a.example', port = 80 }",
       "an on.request hook"},
      {"allow.http { host = 'a.example' }\nallow.udp { host = 'a.example' }",
       "which has http rules"},
  });
  CHECK(Diagnose("secret 'A' { from = env 'A', hosts = 'a.example' }\nallow.tcp { host = "
                 "'a.example', port = 22 }")
            .empty());
}

TEST_CASE("broad rules are remarked upon") {
  CHECK_THAT(Diagnose("allow.http { host = any }"),
             Catch::Contains("warning: allow.http: any allows every public name"));
  CHECK_THAT(Diagnose("allow.http { host = '*.co.uk' }"),
             Catch::Contains("warning") && Catch::Contains("different owners"));
  CHECK(Diagnose("deny.http { host = any }").empty());
}

TEST_CASE("the sandbox block is read") {
  Policy policy(
      R"(sandbox { image = "debian:12-slim", cpus = 2, memory = "2GiB", workdir = "/work", hostname = "box",
                             isolation = "vm", timeout = "30s", network = false,
                             mounts = { { "./work", "/work", mode = "rw" }, { "/etc/x", "/x" }, { "../y", "/y", mode = "ro" } },
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
  REQUIRE(sandbox.mounts.size() == 3);
  CHECK(sandbox.mounts[0].source == "/home/me/project/work");
  CHECK(sandbox.mounts[0].target == "/work");
  CHECK(sandbox.mounts[0].writable);
  CHECK(sandbox.mounts[1].source == "/etc/x");
  CHECK_FALSE(sandbox.mounts[1].writable);
  CHECK(sandbox.mounts[2].source == "/home/me/y");
  CHECK(sandbox.env == std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"B", "2"}});
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
      {"sandbox { mounts = { { './x', '/a/../b' } } }", "must be an absolute path"},
      {"sandbox { mounts = { { './x', '/x', mode = 'wr' } } }", "did you mean 'rw'?"},
      {"sandbox { mounts = { { './x', '/x', moed = 'rw' } } }", "did you mean 'mode'?"},
      {"sandbox { mounts = { { './x', '/x' }, { './y', '/x' } } }", "two mounts"},
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

TEST_CASE("a secret is read") {
  Policy policy(R"(secret "TOKEN" {
    from = env "GITHUB_TOKEN", hosts = { "api.github.com", "*.example.com" }, headers = { "authorization", "x-key" },
    inject = { authorization = "Bearer {}" }, methods = { "GET" }, paths = { "/x/**" }, ports = { 443, 8443 },
    expose = false, plaintext = true, foreign = "strip", on_violation = "terminate", placeholder = "ghp_aaaa", scrub = false,
    query = true, path = true, body = "form" }
    secret "KEY" { from = file "key.txt", hosts = "a.example" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const SecretSpec& token = secrets[0];
  CHECK(token.name == "TOKEN");
  CHECK(std::get<EnvSource>(token.source).variable == "GITHUB_TOKEN");
  REQUIRE(token.hosts.size() == 2);
  CHECK(token.hosts[1].ToString() == "*.example.com");
  CHECK(token.headers == std::vector<std::string>{"authorization", "x-key"});
  CHECK(token.inject ==
        std::vector<std::pair<std::string, std::string>>{{"authorization", "Bearer {}"}});
  CHECK(token.methods == std::vector<std::string>{"GET"});
  CHECK(token.paths == std::vector<std::string>{"/x/**"});
  CHECK(token.ports == std::vector<uint16_t>{443, 8443});
  CHECK_FALSE(token.expose);
  CHECK(token.plaintext);
  CHECK(token.foreign == SecretSpec::Foreign::kStrip);
  CHECK(token.on_violation == SecretSpec::OnViolation::kTerminate);
  CHECK(token.placeholder == "ghp_aaaa");
  CHECK_FALSE(token.scrub);
  CHECK(token.query);
  CHECK(token.path);
  CHECK(token.body == SecretSpec::Body::kForm);
  CHECK(token.declared_at == "policy.lua:1");
  const SecretSpec& key = secrets[1];
  CHECK(std::get<FileSource>(key.source).path == "/home/me/project/key.txt");
  CHECK_FALSE(key.headers);
  CHECK(key.expose);
  CHECK_FALSE(key.plaintext);
  CHECK(key.scrub);
  CHECK_FALSE(key.query);
  CHECK_FALSE(key.path);
  CHECK(key.body == SecretSpec::Body::kNone);
  CHECK(key.foreign == SecretSpec::Foreign::kBlock);
  CHECK(key.on_violation == SecretSpec::OnViolation::kDefault);
}

TEST_CASE("a secret's command is read as its arguments, with the policy's folder") {
  Policy policy(R"(secret "A" { from = command { "gh", "auth", "token; rm -r $HOME", "", lifetime = "1h" }, hosts = "a.example" }
    secret "B" { from = command { "./print" }, hosts = "a.example" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<CommandSource>(secrets[0].source);
  CHECK(first.argv == std::vector<std::string>{"gh", "auth", "token; rm -r $HOME", ""});
  CHECK(first.folder == "/home/me/project");
  CHECK(first.lifetime == std::chrono::hours(1));
  CHECK(std::get<CommandSource>(secrets[1].source).lifetime.count() == 0);
}

TEST_CASE("an OAuth2 source is read") {
  Policy policy(R"(secret "A" { from = oauth2 { token_url = "https://id.example.com:8443/token?tenant=1", client_id = "me",
      client_secret = env "S", scopes = { "read", "https://x/y" }, audience = "api", auth = "post" }, hosts = "a.example" }
    secret "B" { from = oauth2 { token_url = "http://127.0.0.1:8080/t", private = true, client_id = "me",
      refresh_token = file "refresh" }, hosts = "a.example" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<OAuth2Source>(secrets[0].source);
  CHECK(first.token_url.ToString() == "https://id.example.com:8443/token?tenant=1");
  CHECK(first.grant == OAuth2Source::Grant::kClientCredentials);
  CHECK(first.auth == OAuth2Source::Auth::kPost);
  CHECK(first.client_id == "me");
  CHECK(std::get<EnvSource>(*first.client_secret).variable == "S");
  CHECK(first.scopes == std::vector<std::string>{"read", "https://x/y"});
  CHECK(first.audience == "api");
  CHECK_FALSE(first.private_network);
  const auto& second = std::get<OAuth2Source>(secrets[1].source);
  CHECK(second.grant == OAuth2Source::Grant::kRefreshToken);
  CHECK(second.auth == OAuth2Source::Auth::kBasic);
  CHECK_FALSE(second.client_secret);
  CHECK(std::get<FileSource>(*second.refresh_token).path == "/home/me/project/refresh");
  CHECK(second.private_network);
  CHECK_FALSE(second.token_url.tls);
}

TEST_CASE("a GitHub App is read") {
  Policy policy(R"(secret "A" { from = github_app { app_id = 12, installation_id = "34", private_key = file "app.pem",
      repositories = { "one", "two" }, permissions = { contents = "read", issues = "write" } }, hosts = "api.github.com" }
    secret "B" { from = github_app { app_id = "Iv1.abc", installation_id = 1, private_key = command { "pass", "app" },
      base_url = "https://ghe.example.com/api/v3" }, hosts = "ghe.example.com" })");
  const auto& secrets = policy.engine().secrets();
  REQUIRE(secrets.size() == 2);
  const auto& first = std::get<GitHubAppSource>(secrets[0].source);
  CHECK(first.base_url.ToString() == "https://api.github.com/");
  CHECK(first.app_id == "12");
  CHECK(first.installation_id == "34");
  CHECK(std::get<FileSource>(first.private_key).path == "/home/me/project/app.pem");
  CHECK(first.repositories == std::vector<std::string>{"one", "two"});
  CHECK(first.permissions ==
        std::vector<std::pair<std::string, std::string>>{{"contents", "read"}, {"issues", "write"}});
  const auto& second = std::get<GitHubAppSource>(secrets[1].source);
  CHECK(second.base_url.ToString() == "https://ghe.example.com/api/v3");
  CHECK(std::get<CommandSource>(second.private_key).argv.size() == 2);
}

std::string FromSource(const std::string& source) {
  return "secret 'A' { from = " + source + ", hosts = 'a.example' }";
}

TEST_CASE("a source of secrets is checked") {
  const std::string oauth = "token_url = 'https://a.example/t', client_id = 'c', ";
  const std::string app = "app_id = 1, installation_id = 2, ";
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"command 'gh'", "command takes one table"},
      {"command { }", "names no program"},
      {"command { '' }", "names no program"},
      {"command { 'gh', 5 }", "argument 2 must be a string"},
      {"command { 'gh', lifetme = '1h' }", "did you mean 'lifetime'?"},
      {"command { 'gh', lifetime = '1 hour' }", "'lifetime' must be a duration"},
      {"command { 'gh', lifetime = '0s' }", "'lifetime' must be a duration"},
      {"oauth2 'x'", "oauth2 takes one table"},
      {"oauth2 { }", "needs 'token_url'"},
      {"oauth2 { token_url = 'https://a.example/t', client_secret = env 'S' }", "needs 'client_id'"},
      {"oauth2 { " + oauth + "}", "needs 'client_secret'"},
      {"oauth2 { " + oauth + "client_secret = 'plain' }", "'client_secret' must be env"},
      {"oauth2 { " + oauth + "client_secret = oauth2 { " + oauth + "client_secret = env 'S' } }",
       "not another server's token"},
      {"oauth2 { " + oauth + "client_secret = env 'S', grant = 'refresh' }", "'grant' can't be"},
      {"oauth2 { " + oauth + "grant = 'refresh_token' }", "needs 'refresh_token'"},
      {"oauth2 { " + oauth + "client_secret = env 'S', grant = 'client_credentials', refresh_token = env 'R' }",
       "'refresh_token' is for grant"},
      {"oauth2 { " + oauth + "client_secret = env 'S', auth = 'digest' }", "'auth' can't be"},
      {"oauth2 { " + oauth + "client_secret = env 'S', scopes = 'a b' }", "is not a scope"},
      {"oauth2 { " + oauth + "client_secret = env 'S', scope = 'a' }", "did you mean 'scopes'?"},
      {"oauth2 { token_url = 'http://a.example/t', client_id = 'c', client_secret = env 'S' }",
       "must begin with https://"},
      {"oauth2 { token_url = 'https://u:p@a.example/t', client_id = 'c', client_secret = env 'S' }", "is not a URL"},
      {"oauth2 { token_url = 'https://localhost/t', client_id = 'c', client_secret = env 'S' }", "add private = true"},
      {"oauth2 { token_url = 'http://127.1/t', client_id = 'c', client_secret = env 'S' }", "add private = true"},
      {"github_app { " + app + "}", "needs 'private_key'"},
      {"github_app { app_id = 1, private_key = file 'k' }", "needs 'installation_id'"},
      {"github_app { app_id = 1, installation_id = '2/x', private_key = file 'k' }", "must be a number"},
      {"github_app { " + app + "private_key = file 'k', repositories = 'o/r' }", "without its owner"},
      {"github_app { " + app + "private_key = file 'k', permissions = { contents = 'reed' } }", "did you mean 'read'?"},
      {"github_app { " + app + "private_key = file 'k', base_url = 'ghe.example.com' }", "is not a URL"},
      {"github_app { " + app + "key = file 'k' }", "unknown field 'key'"},
  };
  for (const auto& [source, message] : mistakes) {
    const std::string text = FromSource(source);
    CheckMistakes({{text.c_str(), message.c_str()}});
  }
}

TEST_CASE("a secret is checked") {
  CheckMistakes({
      {"secret 'A' { from = env 'A' }", "needs 'hosts'"},
      {"secret 'A' { from = env 'A', hosts = {} }", "empty list"},
      {"secret 'A' { from = env 'A', hosts = any }", "can't be any"},
      {"secret 'A' { from = env 'A', hosts = '*.co.uk' }", "'co.uk' is a public suffix"},
      {"secret 'A' { from = env 'A', hosts = '*.com' }", "public suffix"},
      {"secret 'A' { from = env 'A', hosts = '*.github.io' }", "public suffix"},
      {"secret 'A' { from = env 'A', hosts = '10.0.0.1' }", "is an address"},
      {"secret 'A' { hosts = 'a.example' }", "needs a 'from'"},
      {"secret 'A' { from = 'A', hosts = 'a.example' }", "'from' must be env"},
      {"secret 'A' { from = env(5), hosts = 'a.example' }", "env takes the name of a variable"},
      {"secret 'A' { from = file '', hosts = 'a.example' }", "file takes a path"},
      {"secret 'A'", "without its table"},
      {"secret 'A' 'x'", "takes one table"},
      {"secret 'A B' { }", "secret takes a name"},
      {"secret(5)", "secret takes a name"},
      {"secret 'A' { from = env 'A', hosts = 'a.example' }\nsecret 'A' { from = env 'B', hosts = "
       "'b.example' }",
       "is declared twice; the first is at policy.lua:1"},
      {"secret 'A' { from = env 'A', hosts = 'a.example' } { }", "has its table already"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', headers = 'a b' }",
       "is not a header's name"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', headers = 'host' }",
       "belongs to the gate"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', inject = { authorization = 'Bearer' } }",
       "with one {}"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', inject = { authorization = '{}{}' } }",
       "with one {}"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', inject = { ['content-length'] = '{}' } }",
       "belongs to the gate"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', inject = { a = '{}', A = '{}' } }",
       "stands twice"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', methods = 'get' }",
       "did you mean 'GET'?"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', paths = 'x' }", "must start with '/'"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', ports = 0 }", "a port from 1 to 65535"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', expose = 'no' }", "true or false"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', plaintext = 1 }", "true or false"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', foreign = 'blok' }",
       "did you mean 'block'?"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', on_violation = 'die' }", "it is one of"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', placeholder = 'a b' }",
       "printable ASCII"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', scrub = 'no' }", "true or false"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', query = 'key' }", "true or false"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', path = '/x' }", "true or false"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', body = 'jsno' }", "did you mean 'json'?"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', body = true }", "'body'"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', qurey = true }", "did you mean 'query'?"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', query = true, placeholder = '%{random}' "
       "}",
       "can't have a '%'"},
      {"secret 'A' { from = env 'A', host = 'a.example' }", "did you mean 'hosts'?"},
  });
}

TEST_CASE("a secret's handle is no text while the file loads") {
  CheckMistakes({
      {"local t = secret 'A' { from = env 'A', hosts = 'a.example' }\nlocal s = 'Bearer ' .. t",
       "policy.lua:2: error: the secret A can't be used as text"},
      {"local t = secret 'A' { from = env 'A', hosts = 'a.example' }\nlocal s = tostring(t)",
       "can't be used as text"},
      {"local t = secret 'A' { from = env 'A', hosts = 'a.example' }\nlocal s = t.value",
       "a secret has no fields"},
      {"local t = secret 'A' { from = env 'A', hosts = 'a.example' }\nallow.http { host = t }",
       "not an object"},
  });
}

TEST_CASE("hooks are checked when they are declared") {
  CheckMistakes({
      {"on.connect()", "on.connect takes a function"},
      {"on.request('a.example')", "on.request takes a function"},
      {"on.request('a b', function() end)", "it has a ' '"},
      {"on.conect(function() end)", "did you mean 'connect'?"},
      {"on.request(5, function() end)", "must be a name"},
  });
}

TEST_CASE("a declaration can be made by a loop or a function of the file") {
  Policy policy(R"(
    local function reader(host) allow.http { host = host, method = { "GET", "HEAD" } } end
    for _, name in ipairs { "a", "b" } do reader(name .. ".example") end
    function helper() return "c.example" end
    allow.tcp { host = helper(), port = 22 })");
  CHECK(policy.Forwards("a.example", "GET", "/"));
  CHECK(policy.Forwards("b.example", "HEAD", "/"));
  CHECK(policy.Action(Policy::Named("c.example", 22)) == "raw");
}

TEST_CASE("a secret can be added from outside and replaces one of its name") {
  Policy policy("secret 'A' { from = env 'A', hosts = 'a.example' }");
  SecretSpec spec;
  spec.name = "A";
  spec.hosts = {*HostPattern::Parse("b.example")};
  policy.engine().AddSecret(spec);
  spec.name = "B";
  policy.engine().AddSecret(spec);
  REQUIRE(policy.engine().secrets().size() == 2);
  CHECK(policy.engine().secrets()[0].hosts[0].ToString() == "b.example");
}

TEST_CASE("a file of endless mistakes is told a bounded number of times") {
  CHECK(Load("for i = 1, 100000 do allow.http { hots = 'x' } end").diagnostics.size() <= 200);
}

TEST_CASE("too many rules are refused") {
  CHECK_THAT(
      Diagnose("for i = 1, 20000 do allow.tcp { host = 'h' .. i .. '.example', port = 1 } end"),
      Catch::Contains("too many rules"));
}

}  // namespace
}  // namespace sallyport::policy
