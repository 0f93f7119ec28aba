#include "guest/agent/environment.h"

#include <array>
#include <unordered_map>

#include "guest/agent/browser_trust.h"
#include "guest/agent/java_trust.h"
#include "guest/agent/trust_store.h"

namespace sallyport::guest {
namespace {

constexpr std::string_view kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// They replace the roots that a program has by itself, so they name all roots, not the CA alone.
constexpr std::string_view kBundleVariables[] = {
    "SSL_CERT_FILE",           "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",      "PIP_CERT",
    "GIT_SSL_CAINFO",          "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",       "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",       "NPM_CONFIG_CAFILE",
    "YARN_HTTPS_CA_FILE_PATH", "BUNDLE_SSL_CA_CERT",
    "COMPOSER_CAFILE",         "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HEX_CACERTS_PATH",        "PERL_LWP_SSL_CA_FILE",
};

// These add to a program's own roots, or make it use the system's.
constexpr std::pair<std::string_view, std::string_view> kAddingVariables[] = {
    {"NODE_EXTRA_CA_CERTS", kCaFile},   {"DENO_CERT", kCaFile},    {"DENO_TLS_CA_STORE", "system"},
    {"SSL_CERT_DIR", kHashedDirectory}, {"UV_NATIVE_TLS", "true"}, {"UV_SYSTEM_CERTS", "true"},
    {"PLAYWRIGHT_FIREFOX_POLICIES_JSON", kFirefoxPolicies},
};

/// Cuts what is before the next SEPARATOR off REST; all of it if there is none.
std::string_view CutNext(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

/// name:password:uid:gid:comment:home:shell
std::array<std::string_view, 7> Fields(std::string_view line) {
  std::array<std::string_view, 7> fields;
  for (std::string_view& field : fields) field = CutNext(line, ':');
  return fields;
}

}  // namespace

Account FindRoot(std::string_view passwd) {
  Account account;
  while (!passwd.empty()) {
    const std::string_view line = CutNext(passwd, '\n');
    if (line.find('\0') != std::string_view::npos) continue;
    const auto [name, password, uid, gid, comment, home, shell] = Fields(line);
    if (uid != "0" || name.empty()) continue;
    account.name = name;
    if (home.starts_with('/')) account.home = home;
    if (shell.starts_with('/')) account.shell = shell;
    break;
  }
  return account;
}

Environment::Environment(const Exec& exec, const Account& account, GateCa ca) {
  std::vector<std::pair<std::string_view, std::string_view>> defaults = {
      {"PATH", kPath},           {"HOME", account.home},   {"USER", account.name},
      {"LOGNAME", account.name}, {"SHELL", account.shell}, {"LANG", "C.UTF-8"}};
  if (exec.tty) defaults.emplace_back("TERM", "xterm");
  if (ca != GateCa::kNone) {
    for (const std::string_view name : kBundleVariables) defaults.emplace_back(name, kCaBundle);
    for (const auto& variable : kAddingVariables) defaults.push_back(variable);
  }
  const std::string java = std::string("-Djavax.net.ssl.trustStore=") + kJavaStore +
                           " -Djavax.net.ssl.trustStorePassword=changeit";
  if (ca == GateCa::kAlsoInJavaStore) defaults.emplace_back("JAVA_TOOL_OPTIONS", java);
  // By name first: with a search for each, a hostile number of variables would cost its square.
  std::unordered_map<std::string_view, size_t> places;
  const auto set = [&](std::string_view name, std::string_view value) {
    const auto [place, added] = places.emplace(name, entries_.size());
    if (added) entries_.emplace_back();
    entries_[place->second].assign(name).append("=").append(value);
  };
  for (const auto& [name, value] : defaults) set(name, value);
  for (const auto& [name, value] : exec.env) set(name, value);
}

std::string_view Environment::Get(std::string_view name) const {
  for (const std::string_view entry : entries_) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace sallyport::guest
