#include "secrets/store.h"

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store_fixture.h"

namespace sallyport::secrets {
namespace {

TEST_CASE("declarations that can't hold are refused with what to write instead") {
  const auto refused = [](const std::function<void(SecretSpec&)>& change,
                          std::string_view value = kGithubValue) {
    Store store;
    SecretSpec spec = GithubSpec();
    change(spec);
    const Status added = store.Add(std::move(spec), Value(value));
    REQUIRE_FALSE(added);
    CHECK(added.error().code() == Code::kInvalid);
    CHECK(added.error().message().find(value) == std::string::npos);
    CHECK(store.empty());
    return added.error().message();
  };
  const auto as_it_is = [](SecretSpec&) {};
  CHECK(refused([](auto& s) { s.name = "no-name"; }).find("variable") != std::string::npos);
  CHECK(refused([](auto& s) { s.hosts.clear(); }).find("hosts = {") != std::string::npos);
  refused([](auto& s) { s.hosts = {HostPattern::Any()}; });
  refused([](auto& s) { s.hosts = {*HostPattern::Parse("*.co.uk")}; });
  refused([](auto& s) { s.headers = {{"bad name"}}; });
  refused([](auto& s) { s.headers = {{"Transfer-Encoding"}}; });
  refused([](auto& s) { s.inject = {{"host", "{}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "no slot"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "{}{}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "a\r\nb: {}"}}; });
  refused([](auto& s) { s.inject = {{"x-key", "{}"}, {"X-Key", "{}"}}; });
  refused([](auto& s) { s.methods = {"G E T"}; });
  refused([](auto& s) { s.paths = {"no/slash"}; });
  refused([](auto& s) { s.ports = {0}; });
  CHECK(refused([](auto& s) { s.placeholder = "fixed"; }).find("{random}") != std::string::npos);
  refused([](auto& s) { s.placeholder = kGithubValue + "{random}"; });
  refused(as_it_is, "7 bytes");
  refused(as_it_is, "a control \x01 character");
  refused(as_it_is, "a tab \t in it");
  refused(as_it_is, " begins with a space");
  refused(as_it_is, "ends with a space ");
}

TEST_CASE("a name is declared once") {
  const auto store = StoreOf(GithubSpec());
  const std::string before = *store->PlaceholderOf("GITHUB_TOKEN");
  CHECK_FALSE(store->Add(GithubSpec(), Value(kOtherValue)));
  CHECK_FALSE(store->AddUnavailable(GithubSpec(), "why"));
  CHECK(*store->PlaceholderOf("GITHUB_TOKEN") == before);
  CHECK(store->GuestEnvironment().size() == 1);
}

// ---- A policy that was loaded anew.

std::vector<SecretSpec> Specs(SecretSpec one) {
  std::vector<SecretSpec> specs;
  specs.push_back(std::move(one));
  return specs;
}

/// Whether REQUEST with the placeholder of NAME may go to HOST.
std::optional<Reason> RefusedAt(const Store& store, const std::string& name,
                                std::string_view host) {
  const auto head = Get({{"authorization", "Bearer " + *store.PlaceholderOf(name)}});
  const auto refusal = store.Examine(To(host), head).refusal;
  return refusal ? std::optional(refusal->reason) : std::nullopt;
}

TEST_CASE("a secret that is declared again keeps placeholder and value, with its new hosts") {
  const auto store = StoreOf(GithubSpec());
  const std::string placeholder = *store->PlaceholderOf("GITHUB_TOKEN");
  REQUIRE(store->Redeclare(Specs(Spec("GITHUB_TOKEN", {"other.example"})), {}));
  CHECK(*store->PlaceholderOf("GITHUB_TOKEN") == placeholder);
  CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "other.example"));
  CHECK(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com") == Reason::kSecretWrongHost);
  CHECK_FALSE(store->Binds(Name("api.github.com")));
}

TEST_CASE(
    "a secret that is not declared any more is revoked and binds no host, but can come back") {
  SecretSpec injecting = GithubSpec();
  injecting.inject = {{"authorization", "Bearer {}"}};
  const auto store = StoreOf(injecting);
  SecretSpec next = Spec("NEXT", {"api.github.com"});
  next.inject = injecting.inject;
  std::map<std::string, Secret> values;
  values.emplace("NEXT", Value(kOtherValue + "next"));
  REQUIRE(store->Redeclare(Specs(next), std::move(values)));
  CHECK_FALSE(store->Binds(Name("www.example.com")));
  CHECK(RefusedAt(*store, "GITHUB_TOKEN", "www.example.com") == Reason::kSecretUnavailable);
  CHECK(store->Redact(kGithubValue) != kGithubValue);  // Answers may still show it.
  values.clear();
  values.emplace("GITHUB_TOKEN", Value(kOtherValue + "github"));
  REQUIRE(store->Redeclare(Specs(GithubSpec()), std::move(values)));
  CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com"));
}

TEST_CASE("declarations that can't all hold change nothing") {
  const auto store = StoreOf(GithubSpec());
  const auto unchanged = [&] {
    CHECK_FALSE(RefusedAt(*store, "GITHUB_TOKEN", "api.github.com"));
    CHECK(store->Binds(Name("api.github.com")));
  };
  std::vector<SecretSpec> specs = Specs(Spec("GITHUB_TOKEN", {"other.example"}));
  specs.push_back(Spec("NEW", {"other.example"}));
  CHECK(store->Redeclare(specs, {}).error().code() == Code::kNotFound);
  unchanged();
  specs[1].hosts.clear();
  CHECK_FALSE(store->Redeclare(specs, {}));
  unchanged();
  SecretSpec unscrubbed = GithubSpec();
  unscrubbed.scrub = false;
  CHECK_FALSE(store->Redeclare(Specs(unscrubbed), {}));
  unchanged();
  std::map<std::string, Secret> values;
  values.emplace("GITHUB_TOKEN", Value("short"));
  CHECK_FALSE(store->Redeclare(Specs(GithubSpec()), std::move(values)));
  unchanged();
  specs = Specs(Spec("ADDED", {"other.example"}));
  specs.push_back(Spec("ADDED", {"other.example"}));
  values.clear();
  values.emplace("ADDED", Value(kOtherValue + "added"));
  CHECK_FALSE(store->Redeclare(specs, std::move(values)));
  unchanged();
  CHECK(RefusedAt(*store, "ADDED", "other.example") == Reason::kSecretUnavailable);
}

}  // namespace
}  // namespace sallyport::secrets
