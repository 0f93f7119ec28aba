#include "policy/dangling_check.h"

#include <algorithm>
#include <charconv>

namespace sallyport::policy {
namespace {

// Pairs of a rule and a declared host that are looked at; some 20 ms. Beyond it nothing is said.
constexpr size_t kMostPairs = 1'000'000;

bool Overlap(const HostPattern& a, const HostPattern& b) {
  return a.Covers(b) || b.Covers(a);
}

bool Meets(const std::vector<HostPattern>& hosts, const HostPattern& host) {
  return std::any_of(hosts.begin(), hosts.end(),
                     [&host](const HostPattern& other) { return Overlap(other, host); });
}

/// Whether RULE lets out requests at PORTS (empty: 80 and 443) with METHODS (empty: all).
bool LetsOut(const Rule& rule, const std::vector<uint16_t>& ports,
             const std::vector<std::string>& methods) {
  const bool port =
      ports.empty() ? rule.ports.Contains(80) || rule.ports.Contains(443)
                    : std::any_of(ports.begin(), ports.end(),
                                  [&rule](uint16_t number) { return rule.ports.Contains(number); });
  const bool method =
      methods.empty() || rule.methods.empty() ||
      std::any_of(methods.begin(), methods.end(), [&rule](const auto& name) {
        return std::find(rule.methods.begin(), rule.methods.end(), name) != rule.methods.end();
      });
  return port && method;
}

/// The line in "policy.lua:12"; 0 where there is none.
int LineOf(const std::string& place) {
  const size_t colon = place.rfind(':');
  int line = 0;
  if (colon != place.npos) {
    std::from_chars(place.data() + colon + 1, place.data() + place.size(), line);
  }
  return line;
}

class DanglingCheck {
 public:
  explicit DanglingCheck(Loader& loader) : loader_(loader) {
    for (const Rule& rule : loader.declared.rules.rules()) {
      const bool seen = rule.kind == Rule::Kind::kHttp && rule.tls == Rule::Tls::kIntercept;
      if (seen && rule.allows() && !rule.hosts.empty()) rules_.push_back(&rule);
    }
  }

  void Run() {
    for (const SecretSpec& secret : loader_.declared.secrets) CheckSecret(secret);
    for (const auto& server : loader_.declared.upstream.servers) CheckServer(server);
  }

 private:
  /// Whether some rule that USES holds for reaches HOST; true when too much was looked at.
  template <class Uses>
  bool IsReached(const HostPattern& host, Uses uses) {
    for (const Rule* rule : rules_) {
      if (!uses(*rule)) continue;
      if (left_ < rule->hosts.size()) return true;
      left_ -= rule->hosts.size();
      if (Meets(rule->hosts, host)) return true;
    }
    return false;
  }

  void CheckSecret(const SecretSpec& secret) {
    const auto any = [](const Rule&) { return true; };
    const auto fits = [&secret](const Rule& rule) {
      return LetsOut(rule, secret.ports, secret.methods);
    };
    std::vector<std::string> unreached;
    bool usable = false;
    for (const HostPattern& host : secret.hosts) {
      if (!IsReached(host, any)) unreached.push_back(host.ToString());
      usable = usable || IsReached(host, fits);
    }
    const int line = loader_.secret_lines[secret.name];
    if (unreached.size() == secret.hosts.size()) {
      return Warn(line, "secret \"" + secret.name +
                            "\" can never be used: no allow.http rule grants " +
                            (unreached.size() == 1 ? "its host '" + unreached.front() + "'"
                                                   : "any of its hosts"));
    }
    if (!usable) {
      return Warn(line,
                  "secret \"" + secret.name +
                      "\" can never be used: the allow.http rules for its hosts grant none of its "
                      "methods and ports");
    }
    for (const auto& host : unreached) {
      Warn(line,
           "secret \"" + secret.name + "\": no allow.http rule grants its host '" + host + "'");
    }
  }

  void CheckServer(const UpstreamOptions::Server& server) {
    // The broker asks such hosts, too, without any rule.
    const bool asked = std::any_of(loader_.declared.secrets.begin(), loader_.declared.secrets.end(),
                                   [](const SecretSpec& secret) {
                                     return !std::holds_alternative<EnvSource>(secret.source) &&
                                            !std::holds_alternative<FileSource>(secret.source) &&
                                            !std::holds_alternative<CommandSource>(secret.source);
                                   });
    if (asked || IsReached(server.host, [](const Rule&) { return true; })) return;
    Warn(LineOf(server.declared_at), "upstream \"" + server.host.ToString() +
                                         "\" has no effect: no allow.http rule grants this host");
  }

  void Warn(int line, std::string what) { loader_.diagnostics.Warning(line, std::move(what)); }

  Loader& loader_;
  std::vector<const Rule*> rules_;
  size_t left_ = kMostPairs;
};

}  // namespace

void CheckDangling(Loader& loader) {
  const Declarations& declared = loader.declared;
  if (!declared.on_connect.empty() || !declared.on_request.empty() ||
      !declared.on_response.empty()) {
    return;
  }
  DanglingCheck(loader).Run();
}

}  // namespace sallyport::policy
