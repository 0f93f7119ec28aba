#include "policy/learnt_rules.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/address_class.h"
#include "base/http_message.h"
#include "policy/diagnostics.h"
#include "policy/dns_records.h"

namespace sallyport::policy {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kMaxMethods = 32;  // Beyond, the rule has any method: nobody reads so many.
constexpr size_t kMaxMethod = 32;   // The log cuts a longer one.
constexpr size_t kMostNamed = 8;    // Hosts in the comment on a wildcard.
constexpr uint16_t kHttp = 80;
constexpr uint16_t kHttps = 443;

/// RFC 9110, 9.2.1.
bool Reads(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

/// TEXT as a string of the policy language, on one line.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted.append(1, '\\').append(1, c);
    } else if (byte < 0x20 || byte == 0x7f) {
      const std::string number = std::to_string(byte);
      quoted += "\\" + std::string(3 - number.size(), '0') + number;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

using Items = std::vector<std::string>;

Items Quoted(const auto& texts) {
  Items items;
  for (const std::string& text : texts) items.push_back(Quote(text));
  return items;
}

Items Numbers(const std::set<uint16_t>& ports) {
  Items items;
  for (const uint16_t port : ports) items.push_back(std::to_string(port));
  return items;
}

std::string Joined(const Items& items) {
  std::string text;
  for (const auto& item : items) text.append(text.empty() ? "" : ", ").append(item);
  return text;
}

/// `allow.http { … }`, on one line where it fits, else one field a line, and so its lists.
class RuleText {
 public:
  explicit RuleText(std::string function) : function_(std::move(function)) {}

  /// Left out when ITEMS is empty; one item stands without braces.
  RuleText& Field(const char* name, Items items) {
    if (!items.empty()) fields_.emplace_back(name, std::move(items));
    return *this;
  }

  std::string ToString() const {
    std::string line = function_ + " { ";
    for (const auto& [name, items] : fields_) {
      line.append(&fields_.front().first == &name ? "" : ", ").append(OnOneLine(name, items));
    }
    line += " }";
    if (line.size() <= kColumns) return line + "\n";
    std::string text = function_ + " {\n";
    for (const auto& [name, items] : fields_) {
      const std::string field = "  " + OnOneLine(name, items) + ",\n";
      if (field.size() - 1 <= kColumns || items.size() == 1) {
        text += field;
        continue;
      }
      text += "  " + name + " = {\n";
      for (const auto& item : items) text += "    " + item + ",\n";
      text += "  },\n";
    }
    return text + "}\n";
  }

 private:
  static std::string OnOneLine(const std::string& name, const Items& items) {
    if (items.size() == 1) return name + " = " + items.front();
    return name + " = { " + Joined(items) + " }";
  }

  std::string function_;
  std::vector<std::pair<std::string, Items>> fields_;
};

bool IsAddress(const std::string& host) {
  return IpAddress::Parse(host).has_value();
}

const char* HostField(const std::string& host) {
  return IsAddress(host) ? "ip" : "host";
}

std::string Rare(uint64_t count, const char* what) {
  return count == 1 ? std::string("-- rare: 1 ") + what + "\n" : "";
}

/// Ports that a rule need not name.
Items PortsOf(const std::set<uint16_t>& ports) {
  const bool usual = ports.contains(kHttps) &&
                     std::all_of(ports.begin(), ports.end(),
                                 [](uint16_t port) { return port == kHttp || port == kHttps; });
  return usual ? Items() : Numbers(ports);
}

bool IsWildcard(const std::string& host) {
  return host.starts_with("*.");
}

bool Covers(const std::string& pattern, const std::string& host) {
  if (!IsWildcard(pattern)) return pattern == host;
  return host.size() > pattern.size() - 1 && host.ends_with(std::string_view(pattern).substr(1));
}

/// Ports at which a rule for HTTP stands in the way of one for raw bytes.
std::set<uint16_t> SeenPorts(const std::set<uint16_t>& ports) {
  if (!PortsOf(ports).empty()) return ports;
  return {kHttp, kHttps};
}

}  // namespace

void LearntRules::Skip(const Observation& observation, const char* why) {
  if (unwritten_.size() >= kMaxUnwritten) return;
  static constexpr const char* kKinds[] = {"dns", "tcp", "udp", "tls", "http"};
  std::string what = kKinds[static_cast<size_t>(observation.kind)];
  what += " " + ToString(observation.host) + ":" + std::to_string(observation.port);
  unwritten_.insert(what + " " + Printable(observation.method, 32) + ": " + why);
}

/// Whether there is a rule to write for OBSERVATION.
bool LearntRules::MayAdd(const Observation& observation) {
  const auto* address = std::get_if<IpAddress>(&observation.host);
  if (address != nullptr && Classify(*address) != AddressClass::kPublic) {
    Skip(observation, "its address is not public");
    return false;
  }
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (observation.kind == Observation::Kind::kRequest &&
      (!IsToken(observation.method) || observation.method.size() >= kMaxMethod ||
       std::any_of(observation.method.begin(), observation.method.end(), lower))) {
    Skip(observation, "no rule can name its method");
    return false;
  }
  if (observation.kind == Observation::Kind::kRequest && !observation.path.starts_with('/')) {
    Skip(observation, "its target is no path");
    return false;
  }
  const std::string host = ToString(observation.host);
  if (hosts_.size() >= kMaxHosts && !hosts_.contains(host)) {
    Skip(observation, "too many hosts");
    return false;
  }
  hosts_.insert(host);
  return true;
}

bool LearntRules::Add(const Observation& observation) {
  if (!MayAdd(observation)) return false;
  const auto* address = std::get_if<IpAddress>(&observation.host);
  const std::string host = address ? address->ToString() : ToString(observation.host);
  switch (observation.kind) {
    case Observation::Kind::kName: {
      auto& types = names_[host];
      if (dns::IsGrantableType(observation.type)) types.insert(observation.type);
      return true;
    }
    case Observation::Kind::kTcp:
    case Observation::Kind::kUdp: {
      Raw& raw = (observation.kind == Observation::Kind::kTcp ? tcp_ : udp_)[host];
      raw.ports.insert(observation.port);
      raw.flows += observation.count;
      return true;
    }
    case Observation::Kind::kPassedTls:
    case Observation::Kind::kRequest:
      break;
  }
  Web& web = webs_[host];
  if (observation.kind == Observation::Kind::kPassedTls) {
    web.passed_ports.insert(observation.port);
    web.passed += observation.count;
    return true;
  }
  web.ports.insert(observation.port);
  Requests& requests = Reads(observation.method) ? web.reads : web.writes;
  requests.count += observation.count;
  requests.methods.insert(observation.method);
  requests.paths.Add(observation.path, observation.path_length);
  for (const auto& secret : observation.secrets) {
    if (web.secrets.size() < kMostNamed) web.secrets.insert(Printable(secret, 64));
  }
  return true;
}

/// Whether its TLS is to be passed through. Plain HTTP on such a host is seen; other requests mean
/// that another policy saw them, and so can the rule.
bool LearntRules::Web::passes() const {
  return passed > 0 &&
         std::all_of(ports.begin(), ports.end(), [](uint16_t port) { return port == kHttp; });
}

std::set<uint16_t> LearntRules::Web::all_ports() const {
  std::set<uint16_t> all = passed_ports;
  all.insert(ports.begin(), ports.end());
  return all;
}

void LearntRules::MergeInto(const Requests& from, Requests& into) {
  into.methods.insert(from.methods.begin(), from.methods.end());
  into.paths.Add(from.paths);
  into.count += from.count;
}

void LearntRules::MergeInto(const Web& from, Web& into) {
  into.ports.insert(from.ports.begin(), from.ports.end());
  into.secrets.insert(from.secrets.begin(), from.secrets.end());
  MergeInto(from.reads, into.reads);
  MergeInto(from.writes, into.writes);
}

/// Whether a wildcard below ZONE may stand for HOSTS: nothing else below it may be hidden by it.
bool LearntRules::MayWiden(const HostName& zone, const std::vector<std::string>& hosts) const {
  const std::string pattern = "*." + zone.text();
  std::set<uint16_t> ports;
  for (const auto& [host, web] : webs_) {
    if (!Covers(pattern, host)) continue;
    if (web.passed > 0) return false;
    ports.insert(web.ports.begin(), web.ports.end());
  }
  ports = SeenPorts(ports);
  for (const Raws* raws : {&tcp_, &udp_}) {
    for (const auto& [host, raw] : *raws) {
      if (!Covers(pattern, host)) continue;
      for (const uint16_t port : raw.ports) {
        if (ports.contains(port)) return false;
      }
    }
  }
  return hosts.size() >= kManyHosts;
}

/// The rules for HTTP by host, where many hosts below one name are a wildcard. The deepest such
/// name counts; a wildcard is then one host to the names above it.
LearntRules::Webs LearntRules::Widened() const {
  Webs webs = webs_;
  std::map<std::pair<int, std::string>, HostName> zones;  // The deepest first.
  for (const auto& [host, web] : webs_) {
    if (IsAddress(host)) continue;
    auto zone = HostName::Parse(host)->Parent();
    for (; zone && !IsPublicSuffix(*zone); zone = zone->Parent()) {
      const auto dots = std::count(zone->text().begin(), zone->text().end(), '.');
      zones.try_emplace({-static_cast<int>(dots), zone->text()}, *zone);
    }
  }
  for (const auto& [order, zone] : zones) {
    std::vector<std::string> below;
    for (const auto& [host, web] : webs) {
      const std::string name = IsWildcard(host) ? host.substr(2) : host;
      if (!IsAddress(host) && Covers("*." + zone.text(), name)) below.push_back(host);
    }
    if (!MayWiden(zone, below)) continue;
    Web wide;
    for (const auto& host : below) {
      const Web& web = webs.at(host);
      MergeInto(web, wide);
      if (web.merged.empty()) wide.merged.insert(host);
      wide.merged.insert(web.merged.begin(), web.merged.end());
    }
    for (const auto& host : below) webs.erase(host);
    // The same name's own wildcard is below itself no more.
    webs["*." + zone.text()] = std::move(wide);
  }
  return webs;
}

/// RAWS without the ports at which the requests of a host are seen: its bytes would pass unseen.
LearntRules::Raws LearntRules::WithoutWeb(const Raws& raws, const Webs& webs, bool udp) const {
  Raws left;
  for (const auto& [host, raw] : raws) {
    Raw kept = raw;
    for (const auto& [pattern, web] : webs) {
      if (!Covers(pattern, host)) continue;
      for (const uint16_t port : SeenPorts(web.all_ports())) {
        // Of UDP, port 443 alone carries HTTP.
        if (!udp || port == kHttps) kept.ports.erase(port);
      }
    }
    if (!kept.ports.empty()) left[host] = std::move(kept);
  }
  return left;
}

/// `allow.dns` for names that no other rule makes resolvable, and for their other records.
std::string LearntRules::NamesOnly(const Webs& webs) const {
  Items names;
  std::string with_types;
  for (const auto& [name, types] : names_) {
    if (!types.empty()) {
      Items texts;
      for (const uint16_t type : types) texts.push_back(Quote(dns::TypeName(type)));
      with_types +=
          RuleText("allow.dns").Field("host", {Quote(name)}).Field("types", texts).ToString();
      continue;
    }
    const bool covered = tcp_.contains(name) || udp_.contains(name) ||
                         std::any_of(webs.begin(), webs.end(), [&name = name](const auto& entry) {
                           return Covers(entry.first, name);
                         });
    if (!covered) names.push_back(Quote(name));
  }
  if (names.empty()) return with_types;
  return "-- looked up only\n" +
         RuleText("allow.dns").Field("host", std::move(names)).ToString() + with_types;
}

std::string LearntRules::RequestRule(const std::string& host, const Web& web,
                                     const Requests& requests) {
  std::string comments;
  const std::vector<std::string> paths = requests.paths.Globs();
  if (paths.empty()) comments += "-- wide: any path\n";
  comments += Rare(requests.count, "request");
  RuleText rule("allow.http");
  rule.Field(HostField(host), {Quote(host)}).Field("port", PortsOf(web.all_ports()));
  if (requests.methods.size() <= kMaxMethods) rule.Field("method", Quoted(requests.methods));
  return comments + rule.Field("path", Quoted(paths)).ToString();
}

/// What is written by some paths is not to be written by all that are read.
std::string LearntRules::WebRules(const std::string& host, const Web& web) {
  if (web.passes()) {
    RuleText rule("allow.http");
    rule.Field(HostField(host), {Quote(host)}).Field("port", PortsOf(web.all_ports()));
    const uint64_t connections = web.passed + web.reads.count + web.writes.count;
    return Rare(connections, "connection") + rule.Field("tls", {Quote("passthrough")}).ToString();
  }
  std::string comments;
  if (!web.merged.empty()) {
    Items named(web.merged.begin(), web.merged.end());
    const size_t all = named.size();
    named.resize(std::min(all, kMostNamed));
    comments += "-- wide: " + Joined(named);
    if (all > kMostNamed) comments += " and " + std::to_string(all - kMostNamed) + " more";
    comments += "\n";
  }
  if (!web.secrets.empty()) {
    comments += "-- with " + Joined(Items(web.secrets.begin(), web.secrets.end())) + "\n";
  }
  const bool both = !web.reads.methods.empty() && !web.writes.methods.empty();
  if (both && web.reads.paths.Globs() != web.writes.paths.Globs()) {
    return comments + RequestRule(host, web, web.reads) + RequestRule(host, web, web.writes);
  }
  Requests all = web.reads;
  MergeInto(web.writes, all);
  return comments + RequestRule(host, web, all);
}

std::string LearntRules::ToText() const {
  const Webs webs = Widened();
  std::string text;
  for (const auto& [host, web] : webs) text += WebRules(host, web);
  for (const bool udp : {false, true}) {
    const Raws raws = WithoutWeb(udp ? udp_ : tcp_, webs, udp);
    if (!raws.empty() && !text.empty()) text += "\n";
    for (const auto& [host, raw] : raws) {
      text += Rare(raw.flows, udp ? "flow" : "connection");
      text += RuleText(udp ? "allow.udp" : "allow.tcp")
                  .Field(HostField(host), {Quote(host)})
                  .Field("port", Numbers(raw.ports))
                  .ToString();
    }
  }
  const std::string names = NamesOnly(webs);
  if (!names.empty() && !text.empty()) text += "\n";
  return text + names;
}

}  // namespace sallyport::policy
