#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

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
                 "policy.lua:1: error: there is no allow.htpp; it is one of http, tcp, udp, icmp, "
                 "dns; did you mean 'http'?"));
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
      {"allow.dns { host = 'a.example', types = 'TYPE252' }", "is not a record type"},
      {"allow.dns { host = 'a.example', types = 'HTTPS' }", "never answered"},
      {"allow.dns { host = 'a.example', types = 'TYPE64' }", "never answered"},
      {"allow.dns { host = 'a.example', types = 'A' }", "come with it"},
      {"allow.dns { host = 'a.example', types = { 'TXT', 'AAAA' } }", "families"},
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
  CHECK(Diagnose(passed + "secret 'A' { from = env 'A', hosts = 'a.b.example', ports = 8443 }\n"
                          "allow.http { host = 'a.b.example', port = 8443, path = '/x' }") == "");
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
      {"allow.icmp { host = 'a.example', port = 7 }", "pings have no ports"},
      {"allow.icmp { host = 'a.example', method = 'GET' }", "belongs to http rules only"},
      {"deny.icmp { host = 'a.example', rate = '1/s' }", "belongs to allow.icmp, not to a deny"},
      {"allow.icmp { host = 'a.example', to = 'b.example:7' }", "a host without a port"},
      {"allow.icmp { host = 'a.example', to = 'localhost' }", "write to = \"127.0.0.1\""},
  });
}

TEST_CASE("what is not available yet says so") {
  CheckMistakes({
      {"ask.dns { host = 'a.example' }", "a name can't wait for an answer"},
      {"ask { host = 'a.example' }", "ask needs to know what"},
      {"dns { answers = 'fake' }", "'answers'"},
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
        "policy.lua:1: error: undeclared name 'hots_list'; text stands in quotes, a name of your "
        "own is declared with local\n"
        "policy.lua:1: error: undeclared name 'nope'; text stands in quotes, a name of your "
        "own is declared with local\n"
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

TEST_CASE("a deny that earlier rules hide for a part of what it names, or together, is an error") {
  const auto http = [](const std::string& allow, const std::string& deny) {
    return "allow.http { host = 'h.example', " + allow + " }\ndeny.http { host = 'h.example', " + deny +
           " }";
  };
  CheckMistakes({
      {http("path = '/a/*'", "path = '/a/b'"), "has no effect on 'h.example'"},
      {http("path = '/a/**'", "path = '/a/%62'"), "has no effect on 'h.example'"},
      {http("path = '/v1/**'", "path = '/v1/*/secret'"), "has no effect"},
      {http("path = '/repos/*/issues/**'", "path = '/repos/x/issues/1', method = 'DELETE'"),
       "has no effect"},
      {http("header = { a = any }", "header = { A = 'x' }"), "has no effect"},
      {http("method = { 'GET', 'POST' }", "method = { 'POST', 'DELETE' }, path = '/x'"),
       "has no effect on 'h.example' for port 80 for POST: the earlier rule policy.lua:1 (allow.http)"},
      {http("port = { 80, 443 }", "port = { 443, 8443 }"), "has no effect on 'h.example' for port 443"},
      {http("method = 'GET'", "path = '/admin/**'"), "has no effect on 'h.example' for port 80 for GET"},
      {"allow.http { host = 'h.example', port = { from = 1, to = 400 } }\n"
       "allow.http { host = 'h.example', port = { from = 401, to = 65535 } }\n"
       "deny.http { host = 'h.example', path = '/x' }",
       "policy.lua:3: error: deny.http has no effect"},
      {"allow.http { host = 'h.example', method = 'GET' }\n"
       "allow.http { host = 'h.example', method = 'POST' }\n"
       "deny.http { host = 'h.example', method = { 'GET', 'POST' }, path = '/admin/**' }",
       "policy.lua:3: error: deny.http has no effect"},
      {"allow.tcp { ip = { '10.0.0.0/9', '10.128.0.0/9' } }\ndeny.tcp { ip = '10.0.0.0/8' }",
       "has no effect on 10.0.0.0/8"},
      {"allow.tcp { ip = '10.0.0.0/8', port = { 80, 443 } }\n"
       "deny.tcp { ip = '10.1.1.1', port = { from = 1, to = 1000 } }",
       "has no effect on 10.1.1.1 for port 80"},
      {"allow.http { ip = 'public' }\ndeny.tcp { ip = '8.8.8.8' }", "has no effect on 8.8.8.8 for port"},
      {"allow.tcp { host = '*.h.example', port = 22 }\ndeny.tcp { host = 'a.h.example' }",
       "for port 22"},
  });
}

TEST_CASE("an exception before the wider deny that it is from is no mistake") {
  for (const char* text :
       {"allow.http { host = 'h.example', method = 'GET' }\n"
        "deny.http { host = 'h.example', reason = 'only reads' }",
        "allow.tcp { host = 'h.example', port = 22 }\ndeny.tcp { host = 'h.example' }",
        "allow.tcp { ip = '10.0.0.1' }\ndeny.tcp { ip = '10.0.0.0/8' }",
        "allow.tcp { ip = '10.0.0.1' }\ndeny.tcp { ip = 'private' }",
        "allow.http { host = 'h.example', path = '/a' }\n"
        "deny.http { host = 'h.example', method = 'DELETE' }"}) {
    INFO(text);
    CHECK(Diagnose(text) == "");
  }
}

TEST_CASE("a prefix grants no special range that it reaches over, and that is said") {
  const std::string wide = "allow.tcp { ip = '0.0.0.0/0', port = 80 }";
  CHECK_THAT(Diagnose(wide), Catch::Contains("warning") && Catch::Contains("no special ones"));
  CHECK(Diagnose("allow.tcp { ip = '10.0.0.0/8' }\nallow.udp { ip = '100.64.0.0/10' }") == "");
  Policy policy(wide + "\nallow.tcp { ip = { '169.254.0.0/16', '100.64.0.0/10' }, port = 81 }\n"
                       "allow.tcp { ip = '169.254.169.254', port = 82 }\n"
                       "allow.tcp { ip = 'metadata', port = 83 }");
  CHECK(policy.Action(Policy::Direct("8.8.8.8:80")) == "raw");
  for (const char* special : {"169.254.169.254:80", "127.0.0.1:80", "10.0.0.1:80", "100.100.100.200:80",
                              "169.254.169.254:81", "100.100.100.200:81"}) {
    INFO(special);
    CHECK(policy.Action(Policy::Direct(special)) == "deny");
  }
  for (const char* meant :
       {"169.254.1.1:81", "100.64.0.1:81", "169.254.169.254:82", "100.100.100.200:83"}) {
    INFO(meant);
    CHECK(policy.Action(Policy::Direct(meant)) == "raw");
  }
  Policy denies("deny.tcp { ip = '0.0.0.0/1' }\nallow.tcp { ip = { 'private', 'metadata' } }");
  CHECK(denies.Action(Policy::Direct("10.0.0.1:80")) == "deny");
  CHECK(denies.Action(Policy::Direct("192.168.0.1:80")) == "raw");
  CheckMistakes({
      {"allow.tcp { host = 'a.example', resolves_to = '126.0.0.0/7' }", "never reached through a name"},
      {"allow.tcp { host = 'a.example', resolves_to = '0.0.0.0/0' }", "never reached through a name"},
      {"allow.tcp { host = 'a.example', resolves_to = '::/0' }", "never reached through a name"},
      {"allow.tcp { host = 'a.example', resolves_to = '::ffff:126.0.0.0/103' }",
       "never reached through a name"},
  });
}

TEST_CASE("raw bytes by address that go around rules for names are remarked upon") {
  const std::string rule = "allow.http { host = 'h.example', method = 'GET' }\n";
  CHECK_THAT(Diagnose(rule + "allow.tcp { ip = 'public', port = 443 }"),
             Catch::Contains("policy.lua:2: warning: allow.tcp by 'ip' goes around http rules"));
  CHECK_THAT(Diagnose("secret 'A' { from = env 'A', hosts = 'h.example' }\n"
                      "allow.udp { ip = '8.0.0.0/8' }"),
             Catch::Contains("goes around the secret A"));
  CHECK(Diagnose(rule + "allow.tcp { ip = 'public', port = 22 }") == "");
  CHECK(Diagnose(rule + "allow.tcp { ip = { '8.8.8.8', 'private' } }") == "");
  CHECK(Diagnose("allow.tcp { ip = 'public', port = 443 }") == "");
}

TEST_CASE("any is every public name, and others want to be named") {
  Policy policy("allow.http { host = any }\nallow.http { host = { 'printer.local', 'nas' } }");
  CHECK(policy.Forwards("a.example", "GET", "/"));
  CHECK(policy.Forwards("printer.local", "GET", "/"));
  CHECK(policy.Forwards("nas", "GET", "/"));
  for (const char* name : {"localhost", "x.localhost", "router.local", "db.internal", "x.home.arpa",
                           "1.0.0.127.in-addr.arpa", "x.onion", "intranet"}) {
    INFO(name);
    CHECK(policy.Action(Policy::Named(name, 443)) == "deny");
    CHECK_FALSE(policy.engine().DecideName(Name(name)).grantable);
  }
  Policy denies("deny.http { host = any, path = '/x' }\nallow.http { host = 'nas' }");
  CHECK_FALSE(denies.Forwards("nas", "GET", "/x"));
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
                 "'a.example', port = 22 }\nallow.http { host = 'a.example' }")
            .empty());
}

TEST_CASE("broad rules are remarked upon") {
  CHECK_THAT(Diagnose("allow.http { host = any }"),
             Catch::Contains("warning: allow.http: any allows every public name"));
  CHECK_THAT(Diagnose("allow.http { host = '*.co.uk' }"),
             Catch::Contains("warning") && Catch::Contains("different owners"));
  CHECK(Diagnose("deny.http { host = any }").empty());
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
    local function helper() return "c.example" end
    allow.tcp { host = helper(), port = 22 })");
  CHECK(policy.Forwards("a.example", "GET", "/"));
  CHECK(policy.Forwards("b.example", "HEAD", "/"));
  CHECK(policy.Action(Policy::Named("c.example", 22)) == "raw");
}

TEST_CASE("what looks right and is not is told with what to write") {
  const auto http = [](const std::string& field) {
    return "allow.http { host = 'a.example', " + field + " }";
  };
  CheckMistakes({
      {http("method = '*'"), "every method is meant without 'method'"},
      {http("method = any"), "'method' can't be any"},
      {http("path = any"), "'path' can't be any"},
      {http("message = 'x'"), "'message' belongs to ask only"},
      {"deny.tcp { host = 'a.example', message = 'x' }", "'message' belongs to ask only"},
      {http("path = '/a/../b'"), "write '/b'"},
      {"allow.http { host = '2600::1' }", "write ip = \"2600::1\""},
      {"allow.http { host = '[2600::1]' }", "write ip = \"2600::1\""},
      {http("path = '/x?y=1'"), "no rule looks at a request's query"},
      {http("rate = 100"), "a string like \"100/min\""},
      {http("lifetime = 30"), "a duration like \"30s\""},
      {http("to = '10.0.0.1'"), "'to' has no port; write to = \"10.0.0.1:443\""},
      {http("to = 'localhost:8000'"), "write to = \"127.0.0.1:8000\""},
      {"allow.tcp { ip = 'any' }", "the group \"public\""},
      {"allow.tcp { host = 'a.example', resolves_to = 'lan' }", "did you mean 'private'?"},
      {"allow:http { host = 'a.example' }", "write allow.http { ... }, with a dot"},
      {"secret('X', { from = env 'X', hosts = 'a.example' })", "stands behind its name"},
      {"allow.tcp { host = 'a.example', name = 'x' }\nallow.tcp { host = 'b.example', name = 'x' }",
       "policy.lua:2: error: two rules are called 'x'; the first is at policy.lua:1"},
  });
  for (const char* path : {"'/v[0-9]/x'", "'/{a,b}/**'"}) {
    CHECK_THAT(Diagnose(http(std::string("path = ") + path)),
               Catch::Contains("warning") && Catch::Contains("stand for themselves"));
  }
  CHECK_THAT(Diagnose(http("port = { 8000, 8010 }")),
             Catch::Contains("warning") && Catch::Contains("write { from = 8000, to = 8010 }"));
  CHECK(Diagnose(http("port = { 80, 443 }") + "\nallow.tcp { host = 'b.example', port = { 22, 9418 } }") ==
        "");
}

TEST_CASE("a byte order mark and a line for the shell are no part of the policy") {
  CHECK(Diagnose("\xef\xbb\xbf#!/usr/bin/env sandboxctl\nlocal x = 1") == "");
  CHECK(Contains(Diagnose("#!/bin/x\nallow.htp {}"), "policy.lua:2: error"));
}

TEST_CASE("a file of endless mistakes is told a bounded number of times") {
  CHECK(Load("for i = 1, 100000 do allow.http { hots = 'x' } end").diagnostics.size() <= 200);
  CHECK(Contains(Diagnose("for i = 1, 1000 do allow.http { host = 'a.example', hots = 'x' } end"),
                 "801 more are not shown"));
}

TEST_CASE("too many rules are refused") {
  CHECK_THAT(
      Diagnose("for i = 1, 20000 do allow.tcp { host = 'h' .. i .. '.example', port = 1 } end"),
      Catch::Contains("too many rules"));
}

}  // namespace
}  // namespace sallyport::policy
