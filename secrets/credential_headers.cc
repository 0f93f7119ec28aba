#include "secrets/credential_headers.h"

#include <algorithm>
#include <array>

#include "base/http_message.h"

namespace sallyport::secrets {
namespace {

// Only fields that are for nothing else than a credential. Lower case, with '-' for '_'.
constexpr std::array kCredentialHeaders = std::to_array<std::string_view>({
    "access-token",
    "accesskey",  // Bunny
    "api-key",    // Azure OpenAI, New Relic
    "api-token",
    "apikey",  // Supabase
    "auth-token",
    "authorization",
    "circle-token",
    "dd-api-key",  // Datadog
    "dd-application-key",
    "deploy-token",               // GitLab
    "job-token",                  // GitLab
    "ocp-apim-subscription-key",  // Azure API Management
    "private-token",              // GitLab
    "proxy-authorization",
    "x-access-key",
    "x-access-token",
    "x-algolia-api-key",
    "x-amz-security-token",
    "x-api-key",  // Anthropic and most others
    "x-api-secret",
    "x-api-token",
    "x-apikey",
    "x-auth",
    "x-auth-key",               // Cloudflare
    "x-auth-token",             // OpenStack
    "x-auth-user-service-key",  // Cloudflare
    "x-authorization",
    "x-cg-demo-api-key",  // CoinGecko
    "x-cg-pro-api-key",
    "x-cisco-meraki-api-key",
    "x-cmc-pro-api-key",  // CoinMarketCap
    "x-consul-token",
    "x-emby-token",
    "x-figma-token",
    "x-functions-key",  // Azure Functions
    "x-github-token",
    "x-gitlab-token",
    "x-goog-api-key",
    "x-honeycomb-team",
    "x-insert-key",  // New Relic
    "x-jfrog-art-api",
    "x-license-key",  // New Relic
    "x-nomad-token",
    "x-nuget-apikey",
    "x-octopus-apikey",
    "x-parse-master-key",
    "x-parse-rest-api-key",
    "x-plex-token",
    "x-postmark-account-token",
    "x-postmark-server-token",
    "x-query-key",  // New Relic
    "x-rapidapi-key",
    "x-redmine-api-key",
    "x-registry-auth",  // Docker Engine
    "x-rollbar-access-token",
    "x-secret-key",
    "x-shopify-access-token",
    "x-shopify-storefront-access-token",
    "x-subscription-token",  // Brave Search
    "x-token",
    "x-typesense-api-key",
    "x-vault-token",
    "xi-api-key",  // ElevenLabs
});

constexpr std::array kFramingHeaders = std::to_array<std::string_view>({
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
});

/// The spelling in which names are compared.
constexpr char Folded(char c) {
  if (c == '_') return '-';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool IsFoldedTo(std::string_view name, std::string_view known) {
  return name.size() == known.size() && std::equal(name.begin(), name.end(), known.begin(),
                                                   [](char a, char b) { return Folded(a) == b; });
}

// Every field of every request is looked up, most are in no table, and few share size, first and
// last character with a name that is.
constexpr size_t kBuckets = 1024;

constexpr size_t BucketOf(std::string_view name) {
  const size_t first = static_cast<unsigned char>(Folded(name.front()));
  const size_t last = static_cast<unsigned char>(Folded(name.back()));
  return (name.size() * 61 + first * 31 + last * 7) % kBuckets;
}

constexpr std::array<bool, kBuckets> UsedBuckets() {
  std::array<bool, kBuckets> used{};
  for (const std::string_view name : kCredentialHeaders) used[BucketOf(name)] = true;
  return used;
}
constexpr std::array<bool, kBuckets> kUsedBuckets = UsedBuckets();

}  // namespace

bool IsSameField(std::string_view name, std::string_view other) {
  return name.size() == other.size() &&
         std::equal(name.begin(), name.end(), other.begin(),
                    [](char a, char b) { return Folded(a) == Folded(b); });
}

bool IsCredentialHeader(std::string_view name) {
  if (name.empty() || !kUsedBuckets[BucketOf(name)]) return false;
  return std::any_of(kCredentialHeaders.begin(), kCredentialHeaders.end(),
                     [name](std::string_view known) { return IsFoldedTo(name, known); });
}

bool IsAuthorizationHeader(std::string_view name) {
  return EqualsIgnoreCase(name, "authorization") || EqualsIgnoreCase(name, "proxy-authorization");
}

bool IsFramingHeader(std::string_view name) {
  return std::any_of(kFramingHeaders.begin(), kFramingHeaders.end(),
                     [name](std::string_view framing) { return IsFoldedTo(name, framing); });
}

}  // namespace sallyport::secrets
