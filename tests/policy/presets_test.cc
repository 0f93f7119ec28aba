#include "policy/presets.h"

#include <algorithm>

#include "tests/policy/policy_fixture.h"

namespace sallyport::policy {
namespace {

struct Case {
  const char* preset;
  const char* method;
  const char* host;
  const char* path;
  bool allowed;
};

std::string Use(std::string_view name) {
  return "use \"" + std::string(name) + "\"\n";
}

bool Allows(std::string_view preset, const Case& asked) {
  Policy policy(Use(preset));
  const Facts facts = Policy::Named(asked.host, 443);
  if (policy.Flow(facts).action != FlowVerdict::Action::kHttp) return false;
  RequestHead request;
  request.method = asked.method;
  request.scheme = "https";
  request.authority = asked.host;
  request.path = asked.path;
  return policy.Request(asked.host, request).action == RequestVerdict::Action::kForward;
}

struct Promise {
  const char* profile;
  const char* host;
  uint16_t port;
  const char* action;
};

TEST_CASE("each profile keeps what it promises of the network") {
  constexpr Promise kPromises[] = {
      {"permissive", "anything.example", 443, "http"}, {"permissive", "anything.example", 80, "http"},
      {"permissive", "git.example", 22, "raw"},        {"permissive", "mail.example", 25, "deny"},
      {"moderate", "registry.npmjs.org", 443, "http"}, {"moderate", "pypi.org", 443, "http"},
      {"moderate", "api.github.com", 443, "http"},     {"moderate", "anything.example", 443, "deny"},
      {"moderate", "github.com", 22, "deny"},          {"restrictive", "pypi.org", 443, "deny"},
      {"restrictive", "anything.example", 53, "deny"},
  };
  for (const Promise& promise : kPromises) {
    INFO(promise.profile << " " << promise.host << ":" << promise.port);
    Policy policy(std::string(FindProfile(promise.profile)->text));
    CHECK(policy.Action(Policy::Named(promise.host, promise.port)) == promise.action);
    CHECK(policy.Action(Policy::Direct("10.0.0.1:443")) == "deny");
    CHECK(policy.Action(Policy::Direct("8.8.8.8:443")) == "deny");
  }
}

TEST_CASE("each profile keeps what it promises of the working directory") {
  for (const Preset& profile : Profiles()) {
    INFO(profile.name);
    Policy policy{std::string(profile.text)};
    const SandboxOptions& sandbox = policy.engine().sandbox();
    const bool restrictive = profile.name == "restrictive";
    CHECK(sandbox.network == !restrictive);
    CHECK(sandbox.workdir == "/work");
    REQUIRE(sandbox.mounts.size() == 1);
    CHECK(sandbox.mounts[0].target == "/work");
    CHECK(sandbox.mounts[0].writable == !restrictive);
    CHECK(sandbox.env.empty());
    CHECK(policy.engine().secrets().empty());
  }
  CHECK(Profiles().size() == 3);
  CHECK(FindProfile("lax") == nullptr);
}

constexpr Case kCases[] = {
    {"npm", "GET", "registry.npmjs.org", "/@types%2Fnode", true},
    {"npm", "GET", "registry.npmjs.org", "/left-pad/-/left-pad-1.3.0.tgz", true},
    {"npm", "PUT", "registry.npmjs.org", "/left-pad", false},
    {"npm", "GET", "www.npmjs.com", "/", false},
    {"pypi", "GET", "pypi.org", "/simple/requests/", true},
    {"pypi", "GET", "pypi.org", "/pypi/requests/json", true},
    {"pypi", "GET", "pypi.org", "/manage/account", false},
    {"pypi", "GET", "files.pythonhosted.org", "/packages/aa/bb/requests-2.tar.gz", true},
    {"pypi", "POST", "upload.pypi.org", "/legacy/", false},
    {"crates", "GET", "index.crates.io", "/se/rd/serde", true},
    {"crates", "GET", "static.crates.io", "/crates/serde/serde-1.0.0.crate", true},
    {"crates", "GET", "crates.io", "/api/v1/crates/serde/1.0.0/download", true},
    {"crates", "PUT", "crates.io", "/api/v1/crates/new", false},
    {"crates", "GET", "crates.io", "/me", false},
    {"go", "GET", "proxy.golang.org", "/golang.org/x/text/@v/list", true},
    {"go", "GET", "sum.golang.org", "/lookup/golang.org/x/text@v0.3.0", true},
    {"go", "POST", "proxy.golang.org", "/x", false},
    {"debian", "GET", "deb.debian.org", "/debian/dists/bookworm/InRelease", true},
    {"debian", "GET", "security.debian.org", "/debian-security/dists/bookworm-security/InRelease",
     true},
    {"debian", "POST", "deb.debian.org", "/debian/", false},
    {"alpine", "GET", "dl-cdn.alpinelinux.org", "/alpine/v3.20/main/x86_64/APKINDEX.tar.gz", true},
    {"alpine", "GET", "dl-cdn.alpinelinux.org", "/", false},
    {"docker-hub", "GET", "auth.docker.io", "/token", true},
    {"docker-hub", "POST", "auth.docker.io", "/token", false},
    {"docker-hub", "HEAD", "registry-1.docker.io", "/v2/library/debian/manifests/12-slim", true},
    {"docker-hub", "GET", "registry-1.docker.io", "/v2/", true},
    {"docker-hub", "POST", "registry-1.docker.io", "/v2/library/debian/blobs/uploads/", false},
    {"docker-hub", "GET", "production.cloudflare.docker.com", "/registry-v2/docker/x", true},
    {"github", "GET", "github.com", "/torvalds/linux/info/refs", true},
    {"github", "POST", "github.com", "/torvalds/linux.git/git-upload-pack", true},
    {"github", "POST", "github.com", "/torvalds/linux.git/git-receive-pack", false},
    {"github", "GET", "api.github.com", "/repos/torvalds/linux", true},
    {"github", "POST", "api.github.com", "/repos/torvalds/linux/issues", false},
    {"github", "DELETE", "github.com", "/torvalds/linux", false},
    {"github-push", "POST", "github.com", "/me/mine.git/git-receive-pack", true},
    {"github-push", "POST", "github.com", "/me/mine.git/git-upload-pack", true},
    {"github-push", "POST", "api.github.com", "/repos/me/mine/issues", false},
    {"anthropic", "POST", "api.anthropic.com", "/v1/messages", true},
    {"anthropic", "POST", "api.anthropic.com", "/v1/messages/count_tokens", true},
    {"anthropic", "GET", "api.anthropic.com", "/v1/organizations/me", false},
    {"openai", "POST", "api.openai.com", "/v1/chat/completions", true},
    {"openai", "POST", "api.openai.com", "/v1/responses", true},
    {"openai", "GET", "api.openai.com", "/v1/files", false},
    {"google-ai", "POST", "generativelanguage.googleapis.com",
     "/v1beta/models/gemini-pro:generateContent", true},
    {"google-ai", "GET", "generativelanguage.googleapis.com", "/v1beta/cachedContents", false},
};

TEST_CASE("each preset allows what its programs need, and no more") {
  for (const Case& asked : kCases) {
    INFO(asked.preset << ": " << asked.method << " " << asked.host << asked.path);
    CHECK(Allows(asked.preset, asked) == asked.allowed);
  }
}

TEST_CASE("every preset has a case here, loads alone without a word, and says what it is for") {
  for (const Preset& preset : Presets()) {
    INFO(preset.name);
    const auto is_its = [&](const Case& asked) { return asked.preset == preset.name; };
    CHECK(std::any_of(std::begin(kCases), std::end(kCases), is_its));
    CHECK(Diagnose(Use(preset.name)) == "");
    CHECK(Diagnose(Use(std::string(preset.name) + "@" + std::to_string(preset.version))) == "");
  }
}

TEST_CASE("all presets together load") {
  std::string all;
  for (const Preset& preset : Presets()) {
    if (preset.name != "github") all += Use(preset.name);  // github-push has it.
  }
  CHECK(Diagnose(all) == "");
}

TEST_CASE("a rule of a preset is known by the line that uses it and its own") {
  Policy policy("allow.http { host = 'a.example' }\nuse 'npm'");
  const auto verdict = policy.Flow(Policy::Named("registry.npmjs.org", 443));
  CHECK(verdict.rule == "policy.lua:2(npm:3)");
}

TEST_CASE("a mistake around a preset is told at the line that uses it") {
  CHECK(Contains(Diagnose("\nuse 'nmp'"),
                 "policy.lua:2: error: no preset is called 'nmp'; did you mean 'npm'?"));
  CHECK(Contains(Diagnose("use 'zzzzzz'"), "there are alpine anthropic crates"));
  CHECK(Contains(Diagnose("use 'npm@99'"), "this version of Sallyport has npm@1"));
  CHECK(Contains(Diagnose("use 'npm@'"), "this version of Sallyport has npm@1"));
  CHECK(Contains(Diagnose("use 'npm@1x'"), "this version of Sallyport has npm@1"));
  CHECK(Contains(Diagnose("use { 'npm' }"), "use takes the name of a preset"));
  CHECK(Contains(Diagnose("use()"), "use takes the name of a preset"));
  CHECK(Contains(Diagnose("use('npm', 'pypi')"), "use takes the name of a preset"));
  CHECK(Contains(Diagnose("use 'npm'\nuse 'npm'"),
                 "policy.lua:2: warning: use \"npm\" stands at policy.lua:1 already"));
  // The preset's `otherwise` hides what comes after it.
  CHECK(Contains(Diagnose("use 'npm'\nallow.http { host = 'registry.npmjs.org', method = 'PUT' }"),
                 "policy.lua:2: warning:"));
}

TEST_CASE("what a preset declares inside stays inside") {
  CHECK(Contains(Diagnose("use 'npm'\nlog.info(kind)"), "undeclared name 'kind'"));
}

}  // namespace
}  // namespace sallyport::policy
