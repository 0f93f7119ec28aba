#include "runtime/warden/template_file.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

namespace sallyport::runtime {
namespace {

TEST_CASE("a template's names of secrets become placeholders, and nothing else changes") {
  secrets::Store store;
  for (const char* name : {"TOKEN", "OTHER"}) {
    SecretSpec spec;
    spec.name = name;
    spec.hosts.push_back(*HostPattern::Parse("api.example.com"));
    REQUIRE(store.Add(std::move(spec), *secrets::Secret::Create("the-real-value-of-a-secret")));
  }
  const std::string token = *store.PlaceholderOf("TOKEN");
  const std::string other = *store.PlaceholderOf("OTHER");
  CHECK(ExpandTemplate("${TOKEN}", store) == token);
  CHECK(ExpandTemplate("a=${TOKEN}\nb=${OTHER}${TOKEN}\n", store) ==
        "a=" + token + "\nb=" + other + token + "\n");
  for (const char* text : {"", "$", "${", "${}", "${HOME}", "$TOKEN", "{TOKEN}", "${TOKEN", "${ TOKEN }",
                           "100 $ and ${token}"}) {
    CHECK(ExpandTemplate(text, store) == text);
  }
  CHECK(ExpandTemplate("${${TOKEN}}", store) == "${" + token + "}");
  CHECK(ExpandTemplate("$${TOKEN}", store) == "$" + token);
}

}  // namespace
}  // namespace sallyport::runtime
