#include <algorithm>
#include <array>

#include "policy/declarations.h"
#include "policy/dns_records.h"
#include "policy/sealed_table.h"

namespace sallyport::policy {
namespace {

using Kind = Rule::Kind;
using Effect = Rule::Effect;

constexpr uint16_t kNeverThroughName = static_cast<uint16_t>(AddressClass::kLoopback) |
                                       static_cast<uint16_t>(AddressClass::kLinkLocal) |
                                       static_cast<uint16_t>(AddressClass::kMetadata);
constexpr std::chrono::seconds kMinAskWait{1};
constexpr std::chrono::minutes kMaxAskWait{10};
constexpr size_t kMaxText = 500;  // Of a reason, in a response to the guest and in the audit log.

const Words kKinds = {"http", "tcp", "udp", "icmp", "dns"};

Words MakeFieldsOf(Kind kind, Effect effect) {
  Words fields;
  fields.reserve(24);  // All there are, and what is misplaced.
  fields.insert(fields.end(), {"host", "reason", "name"});
  if (kind == Kind::kDns) {
    if (effect == Effect::kAllow) fields.insert(fields.end(), {"types", "rate"});
    return fields;
  }
  if (effect == Effect::kAsk) fields.insert(fields.end(), {"message", "wait"});
  fields.push_back("ip");
  if (kind != Kind::kIcmp) fields.push_back("port");
  if (kind == Kind::kHttp) fields.insert(fields.end(), {"method", "path", "header"});
  if (effect == Effect::kDeny) return fields;
  fields.insert(fields.end(), {"resolves_to", "to", "rate", "bytes", "connections", "lifetime"});
  if (kind == Kind::kHttp) fields.insert(fields.end(), {"otherwise", "tls"});
  if (kind == Kind::kHttp && effect == Effect::kAsk) fields.push_back("show_body");
  return fields;
}

// The names of all fields of such a rule; made once.
const Words& FieldsOf(Kind kind, Effect effect) {
  static const auto kFields = [] {
    std::array<std::array<Words, 3>, 5> fields;
    for (size_t i = 0; i < fields.size(); ++i) {
      for (size_t j = 0; j < fields[i].size(); ++j)
        fields[i][j] = MakeFieldsOf(static_cast<Kind>(i), static_cast<Effect>(j));
    }
    return fields;
  }();
  return kFields[static_cast<size_t>(kind)][static_cast<size_t>(effect)];
}

// Fields that other kinds of rules have, with the reason why this one has not.
// KNOWN gets them, so that they are told once.
void ReportMisplaced(TableReader& reader, Kind kind, Effect effect, Words& known) {
  const auto misplaced = [&](const char* field, std::string_view why) {
    if (!reader.Has(field) || std::find(known.begin(), known.end(), field) != known.end()) return;
    std::string text(why);
    if (why.empty()) text = "belongs to allow." + std::string(ToString(kind)) + ", not to a deny";
    reader.Error("'" + std::string(field) + "' " + text);
    known.push_back(field);
  };
  constexpr std::string_view kNotToDeny;
  for (const char* field : {"method", "path", "header", "otherwise", "tls"}) {
    misplaced(field, kind == Kind::kHttp ? kNotToDeny : "belongs to http rules only");
  }
  misplaced("types", "belongs to allow.dns only");
  misplaced("message", "belongs to ask only: what the guest is told is 'reason'");
  misplaced("wait", "belongs to ask only: how long the guest waits for the answer");
  misplaced("show_body", "belongs to ask.http only: how much of a request's body you are shown");
  if (effect == Effect::kDeny) misplaced("rate", kNotToDeny);
  for (const char* field : {"resolves_to", "to", "rate", "bytes", "connections", "lifetime"}) {
    const bool here = effect == Effect::kDeny && kind != Kind::kDns;
    misplaced(field, here ? kNotToDeny : "does not belong to dns rules");
  }
  misplaced("ip", "does not belong to dns rules, which are about names");
  misplaced("port", kind == Kind::kIcmp ? "does not belong to icmp rules: pings have no ports"
                                       : "does not belong to dns rules");
}

void ReadPortValue(TableReader& reader, int index, PortSet& ports) {
  lua_State* lua = reader.lua();
  if (const auto port = ReadPort(lua, index)) return ports.Add(*port, *port);
  if (lua_type(lua, index) != LUA_TTABLE) {
    return reader.TypeError(
        "port", "a number from 1 to 65535, { from = 8000, to = 8010 } or a list of these", index);
  }
  if (IsList(lua, index)) {
    return reader.Error("'port': a range is written { from = 8000, to = 8010 }");
  }
  TableReader range(reader, index, "port");
  range.Expect({"from", "to"});
  const auto from = range.Integer("from", 1, 65535);
  const auto to = range.Integer("to", 1, 65535);
  if (!from || !to) {
    if (!range.Has("from") || !range.Has("to")) range.Error("a range needs both 'from' and 'to'");
    return;
  }
  if (*from > *to) return range.Error("'from' is greater than 'to'");
  ports.Add(static_cast<uint16_t>(*from), static_cast<uint16_t>(*to));
}

// Whether FIRST and LAST, a list of two, look as if a range was meant: round numbers, or near each
// other.
bool LooksLikeRange(uint16_t first, uint16_t last) {
  const int apart = last - first;
  return (apart > 1 && apart <= 50) ||
         (apart > 0 && apart <= 1000 && first % 10 == 0 && last % 10 == 0);
}

void WarnOfRange(TableReader& reader, const PortSet& ports) {
  std::vector<uint16_t> singles;
  ports.ForEachRange([&singles](uint16_t first, uint16_t last) {
    if (first == last) singles.push_back(first);
  });
  if (singles.size() != 2 || !LooksLikeRange(singles[0], singles[1])) return;
  const std::string first = std::to_string(singles[0]);
  const std::string last = std::to_string(singles[1]);
  reader.Warning("'port' names two ports, " + first + " and " + last +
                 "; for all from the one to the other write { from = " + first + ", to = " + last +
                 " }");
}

PortSet ReadPorts(TableReader& reader, Kind kind) {
  PortSet ports;
  const bool there = reader.ForEach("port", TableReader::Tables::kListsAndValues,
                                    [&](int index) { ReadPortValue(reader, index, ports); });
  if (there) {
    WarnOfRange(reader, ports);
  } else if (kind == Kind::kHttp) {
    ports.Add(80, 80);
    ports.Add(443, 443);
  }
  return ports;
}

void ReadHeaderValue(TableReader& reader, HeaderCondition& condition, int index) {
  if (IsAny(reader.lua(), index)) return;
  auto value = ReadString(reader.lua(), index);
  if (!value || !IsFieldValue(*value)) {
    return reader.TypeError(
        "header", "{ name = \"value\" }, { name = { \"a\", \"b\" } } or { name = any }", index);
  }
  condition.values.push_back(*std::move(value));
}

std::vector<HeaderCondition> ReadHeaderConditions(TableReader& reader) {
  std::vector<HeaderCondition> conditions;
  reader.ForEachField("header", [&](const std::string& name, int index) {
    if (!IsToken(name))
      return reader.Error("'header': '" + Printable(name, 60) + "' is not a header's name");
    HeaderCondition condition{name, {}};
    lua_State* lua = reader.lua();
    if (!IsList(lua, index)) {
      ReadHeaderValue(reader, condition, index);
    } else if (lua_rawlen(lua, index) == 0) {
      return reader.Error("'header': the list for '" + name +
                          "' is empty; write any for every value");
    }
    const auto count = IsList(lua, index) ? static_cast<lua_Integer>(lua_rawlen(lua, index)) : 0;
    for (lua_Integer i = 1; i <= count; ++i) {
      lua_rawgeti(lua, index, i);
      ReadHeaderValue(reader, condition, -1);
      lua_pop(lua, 1);
    }
    conditions.push_back(std::move(condition));
  });
  return conditions;
}

std::string ReadText(TableReader& reader, const char* field) {
  const auto text = reader.String(field);
  if (!text) return {};
  if (text->empty() || text->size() > kMaxText) {
    reader.Error("'" + std::string(field) + "' must have 1 to " + std::to_string(kMaxText) +
                 " bytes");
  }
  return Printable(*text, kMaxText);
}

void ReadHosts(TableReader& reader, Rule& rule) {
  reader.ForEach("host", TableReader::Tables::kLists, [&](int index) {
    auto host = ReadHost(reader, "host", index, AnyIs::kHost);
    if (!host) return;
    if (rule.allows() && host->is_any()) {
      reader.diagnostics().Warning(reader.line(), reader.what() + ": any allows every public name");
    }
    if (rule.allows() && host->is_wildcard() && IsPublicSuffix(*host->name())) {
      reader.diagnostics().Warning(reader.line(), reader.what() + ": '" + host->ToString() +
                                                      "' spans names of different owners");
    }
    rule.hosts.push_back(*std::move(host));
  });
}

// A prefix that reaches over special ranges does not grant them (Grants), which is said.
void WarnOfLeftOut(TableReader& reader, const char* field, const AddressFilter& filter) {
  // Documentation and the like are missed by nobody.
  constexpr uint16_t kInner = kNeverThroughName | static_cast<uint16_t>(AddressClass::kPrivate);
  constexpr auto kPublic = static_cast<uint16_t>(AddressClass::kPublic);
  for (const Prefix& prefix : filter.prefixes) {
    const uint16_t classes = ClassesIn(prefix);
    if ((classes & kPublic) == 0 || (classes & kInner & ~filter.classes) == 0) continue;
    reader.Warning("'" + std::string(field) + "': " + prefix.ToString() +
                   " grants the public addresses in it and no special ones; for others write "
                   "a group such as \"private\", or their own prefix");
  }
}

void ReadIp(TableReader& reader, Rule& rule) {
  if (!reader.Has("ip")) return;
  AddressFilter filter;
  filter.classes = 0;
  ReadAddresses(reader, "ip", filter);
  if (rule.allows()) WarnOfLeftOut(reader, "ip", filter);
  rule.ip = std::move(filter);
}

// Whether PREFIX means addresses that no name leads to. A metadata service within a wider range
// of another kind is left out anyway.
bool NeverThroughName(const Prefix& prefix) {
  constexpr auto kMetadata = static_cast<uint16_t>(AddressClass::kMetadata);
  const uint16_t classes = ClassesIn(prefix);
  return (classes & kNeverThroughName & ~kMetadata) != 0 || classes == kMetadata;
}

}  // namespace

void ReadResolvesTo(TableReader& reader, Rule& rule) {
  if (!reader.Has("resolves_to")) return;
  ReadAddresses(reader, "resolves_to", rule.resolves);
  WarnOfLeftOut(reader, "resolves_to", rule.resolves);
  const bool never =
      (rule.resolves.classes & kNeverThroughName) != 0 ||
      std::any_of(rule.resolves.prefixes.begin(), rule.resolves.prefixes.end(), NeverThroughName);
  if (never) {
    reader.Error(
        "'resolves_to': loopback, link-local and metadata addresses are never reached through a "
        "name; "
        "write to = \"address:port\" for a service that you mean");
  }
}

void ReadTo(TableReader& reader, Rule& rule) {
  const auto text = reader.String("to");
  if (!text) return;
  auto authority = ParseAuthority(*text);
  if (!authority) {
    return reader.Error("'to' must be \"host:port\": " +
                        Printable(authority.error().message(), 200));
  }
  const bool pings = rule.kind == Rule::Kind::kIcmp;
  if (pings && authority->port) {
    return reader.Error("'to' of an icmp rule is a host without a port: pings have none");
  }
  if (!pings && !authority->port) {
    return reader.Error("'to' has no port; write to = \"" + ToString(authority->host) +
                        ":443\", or the port of the service");
  }
  const auto* name = std::get_if<HostName>(&authority->host);
  if (name != nullptr && (name->text() == "localhost" || name->text().ends_with(".localhost"))) {
    const std::string port = pings ? "" : ":" + std::to_string(*authority->port);
    return reader.Error("'to': no name leads to the host itself; write to = \"127.0.0.1" + port +
                        "\"");
  }
  rule.rare.Edit().to = *std::move(authority);
}

void ReadTypes(TableReader& reader, Rule& rule) {
  for (const std::string& text : reader.Strings("types")) {
    const auto type = dns::ParseTypeName(text);
    if (type == dns::kTypeA || type == dns::kTypeAaaa) {
      reader.Error("'types': the addresses of a name come with it; leave '" + text + "' away" +
                   (type == dns::kTypeAaaa ? ", and write dns { families = \"both\" } for IPv6" : ""));
      continue;
    }
    if (type == dns::kTypeHttps || type == dns::kTypeSvcb) {
      reader.Error("'types': '" + text +
                   "' is never answered: it would lead clients past the gate (ECH, HTTP/3)");
      continue;
    }
    if (!type || !dns::IsGrantableType(*type)) {
      reader.Error("'types': '" + Printable(text, 40) +
                   "' is not a record type that can be allowed" +
                   DidYouMean(text, {"TXT", "MX", "SRV", "NS", "CAA", "CNAME", "PTR", "SOA"}));
      continue;
    }
    rule.rare.Edit().types.push_back(*type);
  }
  if (!rule.rare->types.empty()) {
    auto& types = rule.rare.Edit().types;
    std::sort(types.begin(), types.end());
  }
}

namespace {

void ReadWait(TableReader& reader, Rule& rule) {
  const auto text = reader.String("wait");
  if (!text) return;
  const auto wait = ParseDuration(*text);
  if (!wait || *wait < kMinAskWait || *wait > kMaxAskWait) {
    return reader.Error("'wait' is a time from \"1s\" to \"10m\", as in wait = \"25s\"");
  }
  rule.rare.Edit().wait = *wait;
}

void ReadShowBody(TableReader& reader, Rule& rule) {
  const auto text = reader.String("show_body");
  if (!text) return;
  const auto size = ParseSize(*text);
  if (!size || *size == 0 || *size > kMaxShownBody) {
    return reader.Error(
        "'show_body' is a size from \"1B\" to \"4KiB\", as in show_body = \"1KiB\"");
  }
  rule.rare.Edit().show_body = static_cast<size_t>(*size);
}

// Nobody sees the requests of a flow that is passed through, so nothing may depend on them.
void ReadTls(TableReader& reader, Rule& rule) {
  if (reader.OneOf("tls", {"intercept", "passthrough"}) != "passthrough") return;
  rule.tls = Rule::Tls::kPassthrough;
  for (const char* field : {"method", "path", "header", "otherwise", "show_body"}) {
    if (!reader.Has(field)) continue;
    reader.Error("'" + std::string(field) +
                 "' has no effect with tls = \"passthrough\": the gate does not see the requests");
  }
  if (reader.Has("ip")) {
    reader.Error("tls = \"passthrough\" is decided by a name, so the rule can't have an 'ip'");
  }
}

void CheckTarget(TableReader& reader, const Rule& rule) {
  if (reader.Has("host") || (rule.kind != Kind::kDns && reader.Has("ip"))) return;
  reader.Error(rule.kind == Kind::kDns ? "needs a 'host'"
                                       : "needs a 'host' (for names) or an 'ip' (for addresses)");
}

}  // namespace

Rule ReadRule(TableReader& reader, Kind kind, Effect effect) {
  Rule rule;
  rule.kind = kind;
  rule.effect = effect;
  rule.line = reader.line();
  if (!reader.HasOnly(FieldsOf(kind, effect))) {
    Words known = FieldsOf(kind, effect);
    ReportMisplaced(reader, kind, effect, known);
    reader.Expect(known);
  }
  CheckTarget(reader, rule);
  ReadHosts(reader, rule);
  rule.reason = ReadText(reader, "reason");
  rule.id = reader.diagnostics().At(rule.line);
  if (effect == Effect::kAsk) {
    ReadWait(reader, rule);
    rule.rare.Edit().message = ReadText(reader, "message");
    rule.rare.Edit().place = rule.id;
  }
  if (const std::string name = ReadText(reader, "name"); !name.empty()) rule.id = name;
  if (kind == Kind::kDns) {
    if (effect == Effect::kDeny) return rule;
    ReadTypes(reader, rule);
    rule.budget = ReadBudget(reader, rule.id);
    return rule;
  }
  ReadIp(reader, rule);
  rule.ports = ReadPorts(reader, kind);
  if (kind == Kind::kHttp) {
    rule.methods = ReadMethods(reader, "method");
    rule.paths = ReadPaths(reader, "path");
    rule.headers = ReadHeaderConditions(reader);
    if (effect == Effect::kAsk) ReadShowBody(reader, rule);
  }
  if (effect == Effect::kDeny) return rule;
  ReadResolvesTo(reader, rule);
  if (reader.Has("resolves_to") && !reader.Has("host")) {
    reader.Error("'resolves_to' is about the addresses of names, and this rule has no 'host'");
  }
  ReadTo(reader, rule);
  rule.budget = ReadBudget(reader, rule.id);
  if (kind == Kind::kHttp) ReadTls(reader, rule);
  if (reader.Has("otherwise") && kind == Kind::kHttp) {
    rule.rare.Edit().otherwise = ReadText(reader, "otherwise");
    if (rule.matches_every_request()) {
      reader.Error(
          "'otherwise' can never apply: the rule allows every request; add a method or a path");
    }
  }
  return rule;
}

namespace {

// Upvalues: effect, kind.
int DeclareRule(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const auto effect = static_cast<Effect>(lua_tointeger(lua, lua_upvalueindex(1)));
  const auto kind = static_cast<Kind>(lua_tointeger(lua, lua_upvalueindex(2)));
  const std::string what = std::string(ToString(effect)) + "." + std::string(ToString(kind));
  const int line = CurrentLine(lua);
  if (IsAbsorber(lua, 1)) return 0;
  if (lua_gettop(lua) > 1 && IsSealed(lua, 1)) {  // allow:http { ... }
    loader.diagnostics.Error(line, "write " + what + " { ... }, with a dot");
    return 0;
  }
  if (lua_type(lua, 1) != LUA_TTABLE || lua_gettop(lua) != 1) {
    loader.diagnostics.Error(
        line, what + " takes one table, as in " + what + " { host = \"api.example.com\" }");
    return 0;
  }
  TableReader reader(lua, 1, loader.diagnostics, what, line);
  const size_t errors_before = loader.diagnostics.error_count();
  Rule rule = ReadRule(reader, kind, effect);
  if (!loader.presets.empty()) {
    if (const int preset_line = PresetLine(lua); preset_line > 0)
      rule.id += "(" + std::string(loader.presets.back()) + ":" + std::to_string(preset_line) + ")";
  }
  // A rule with a mistake takes no part in the checks over all rules: they would report its shadow.
  if (loader.diagnostics.error_count() != errors_before) return 0;
  loader.patterns += rule.hosts.size() + rule.resolves.prefixes.size() +
                     (rule.ip ? rule.ip->prefixes.size() : 0) + rule.paths.size();
  if (loader.declared.rules.rules().size() >= kMaxRules || loader.patterns > kMaxPatterns) {
    return luaL_error(lua, "too many rules: at most %d, with %d hosts, addresses and paths",
                      static_cast<int>(kMaxRules), static_cast<int>(kMaxPatterns));
  }
  loader.declared.rules.Add(std::move(rule));
  return 0;
}

int Ignore(lua_State*) {
  return 0;
}

// `allow.htpp`, `ask.dns`, `allow { ... }`. Upvalue: "allow", "deny" or "ask".
int UnknownKind(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const std::string effect = lua_tostring(lua, lua_upvalueindex(1));
  const auto kind = ReadString(lua, 2).value_or("?");
  const std::string what = effect + "." + Printable(kind, 40);
  std::string message = "there is no " + what + "; it is one of http, tcp, udp, icmp, dns" +
                        DidYouMean(kind, kKinds);
  if (what == "ask.dns") {
    message = "there is no ask.dns: a name can't wait for an answer; ask about its flows with " +
              effect + ".http, .tcp, .udp or .icmp, which make it resolvable";
  }
  loader.diagnostics.Error(CurrentLine(lua), std::move(message));
  lua_pushcfunction(lua, &Ignore);
  return 1;
}

int CalledWithoutKind(lua_State* lua) {
  const std::string effect = lua_tostring(lua, lua_upvalueindex(1));
  LoaderOf(lua).diagnostics.Error(CurrentLine(lua), effect + " needs to know what: write " +
                                                        effect + ".http { ... }, " + effect +
                                                        ".tcp or " + effect + ".udp");
  return 0;
}

void DefineEffect(lua_State* lua, Effect effect) {
  const std::string_view name = ToString(effect);
  lua_createtable(lua, 0, 5);
  for (const Kind kind : {Kind::kHttp, Kind::kTcp, Kind::kUdp, Kind::kIcmp, Kind::kDns}) {
    if (effect == Effect::kAsk && kind == Kind::kDns) continue;
    lua_pushinteger(lua, static_cast<lua_Integer>(effect));
    lua_pushinteger(lua, static_cast<lua_Integer>(kind));
    lua_pushcclosure(lua, &DeclareRule, 2);
    lua_setfield(lua, -2, std::string(ToString(kind)).c_str());
  }
  lua_createtable(lua, 0, 4);
  lua_pushlstring(lua, name.data(), name.size());
  lua_pushcclosure(lua, &UnknownKind, 1);
  lua_setfield(lua, -2, "__index");
  lua_pushlstring(lua, name.data(), name.size());
  lua_pushcclosure(lua, &CalledWithoutKind, 1);
  lua_setfield(lua, -2, "__call");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_setmetatable(lua, -2);
  lua_setglobal(lua, std::string(name).c_str());
}

}  // namespace

void DefineRules(lua_State* lua) {
  DefineEffect(lua, Effect::kAllow);
  DefineEffect(lua, Effect::kDeny);
  DefineEffect(lua, Effect::kAsk);
  PushAny(lua);
  lua_setglobal(lua, "any");
}

}  // namespace sallyport::policy
