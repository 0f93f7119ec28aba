#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

TEST_CASE("a secret is read") {
  Policy policy(R"(secret "TOKEN" {
    from = env "GITHUB_TOKEN", hosts = { "api.github.com", "*.example.com" }, headers = { "authorization", "x-key" },
    inject = { authorization = "Bearer {}" }, methods = { "GET" }, paths = { "/x/**" }, ports = { 443, 8443 },
    expose = false, plaintext = true, foreign = "strip", on_violation = "terminate", placeholder = "ghp_{random}", scrub = false,
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
  CHECK(token.placeholder == "ghp_{random}");
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
      {"secret 'A' { from = env 'A', hosts = 'a.example', headers = 'Proxy-Authorization' }",
       "belongs to the gate"},
      {"secret 'A' { from = env 'A', hosts = 'a.example', inject = { ['proxy-authorization'] = "
       "'Basic {}' } }",
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
      {"secret 'A' { from = env 'A', hosts = 'a.example', placeholder = 'fixed' }",
       "must have {random} in it"},
      {"secret 'PATH' { from = env 'A', hosts = 'a.example' }", "choose another name"},
      {"secret 'LD_PRELOAD' { from = env 'A', hosts = 'a.example' }", "choose another name"},
      {"secret 'A' { from = env 'A', hosts = 'a.example' }\nsandbox { env = { A = 'x' } }",
       "which sandbox { env } sets too"},
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

TEST_CASE("a secret that the guest does not see may have any variable's name") {
  CHECK(Diagnose("secret 'PATH' { from = env 'A', hosts = 'a.example', expose = false }\n"
                 "sandbox { env = { PATH = '/bin' } }\nallow.http { host = 'a.example' }") == "");
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

}  // namespace
}  // namespace sallyport::policy
