#include <algorithm>

#include "policy/declarations.h"
#include "policy/dns_message.h"
#include "policy/script_call.h"
#include "policy/script_host.h"

// The connection object of on.connect, its endpoints, and what its match functions return.

namespace sallyport::policy {
namespace {

constexpr char kConnection[] = "sallyport.connection";
constexpr char kMatch[] = "sallyport.match";
constexpr int64_t kStepsPerMatch = 200;  // Parsing a pattern.

void PushDestination(lua_State* lua, const Facts& facts) {
  PushEndpoint(lua, facts.destination, !facts.name || facts.destination.address != IpAddress());
}

void PushHostName(lua_State* lua, const Facts& facts) {
  if (!facts.name) return lua_pushnil(lua);
  lua_pushlstring(lua, facts.name->text().data(), facts.name->text().size());
}

// ---- Patterns.

// Raises the first error of DIAGNOSTICS, if there is one.
void RaiseFirst(lua_State* lua, Diagnostics& diagnostics) {
  if (!diagnostics.has_errors()) return;
  for (const Diagnostic& diagnostic : diagnostics.Take()) {
    if (diagnostic.severity == Diagnostic::Severity::kError)
      luaL_error(lua, "%s", diagnostic.message.c_str());
  }
}

// Splits "text:port" where the port is digits; TEXT keeps everything otherwise.
std::optional<uint16_t> SplitPort(std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos || colon + 1 == text.size()) return std::nullopt;
  unsigned port = 0;
  for (size_t i = colon + 1; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9' || port > 65535) return std::nullopt;
    port = port * 10 + static_cast<unsigned>(text[i] - '0');
  }
  if (port < 1 || port > 65535) return std::nullopt;
  text.resize(colon);
  return static_cast<uint16_t>(port);
}

// "host[:port]", "*.zone[:port]", "ip[:port]", "[v6]:port", "10.0.0.0/8[:port]".
void ReadTextPattern(lua_State* lua, std::string text, Rule& rule) {
  // What begins with a letter or '*' and has one ':' at most is no address, which is the usual case.
  const bool may_be_address = (!text.empty() && text.front() >= '0' && text.front() <= '9') ||
                              text.find(':') != text.rfind(':');
  const bool bare_v6 = may_be_address &&
                       (IpAddress::Parse(text).has_value() || Prefix::Parse(text).has_value());
  if (const auto port = bare_v6 ? std::nullopt : SplitPort(text)) {
    rule.ports = PortSet();
    rule.ports.Add(*port, *port);
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']')
    text = text.substr(1, text.size() - 2);
  if (const auto prefix = may_be_address ? Prefix::Parse(text) : std::nullopt) {
    rule.ip.emplace();
    rule.ip->classes = 0;
    rule.ip->prefixes.push_back(*prefix);
    return;
  }
  auto pattern = HostPattern::Parse(text);
  if (!pattern) luaL_error(lua, "%s", ExplainBadHost(text).c_str());
  rule.hosts.push_back(*std::move(pattern));
}

Call::RulePtr NewRule(Rule::Kind kind) {
  auto rule = std::make_shared<Rule>();
  rule->kind = kind;
  rule->effect = Rule::Effect::kAllow;
  return rule;
}

// The pattern at INDEX as a rule; not for functions.
Call::RulePtr ReadPattern(lua_State* lua, int index, Rule::Kind kind) {
  LuaState::Of(lua).Charge(kStepsPerMatch);
  Call::RulePtr made = NewRule(kind);
  Rule& rule = *made;
  if (kind == Rule::Kind::kHttp) {
    rule.ports.Add(80, 80);
    rule.ports.Add(443, 443);
  }
  if (IsAny(lua, index)) {
    rule.hosts.push_back(HostPattern::Any());
  } else if (lua_type(lua, index) == LUA_TTABLE) {
    Diagnostics diagnostics(HostOf(lua).file);
    TableReader reader(lua, index, diagnostics, "match_" + std::string(ToString(kind)),
                       CurrentLine(lua));
    rule = ReadRule(reader, kind, Rule::Effect::kAllow);
    if (!reader.Has("name")) rule.id.clear();
    for (const char* field : {"otherwise", "reason"}) {
      if (!reader.Has(field)) continue;
      reader.Error("'" + std::string(field) +
                   "' belongs to rules of the file: a pattern only says what matches");
    }
    if (rule.tls == Rule::Tls::kPassthrough) {
      reader.Error("tls = \"passthrough\" belongs to allow.http in the file, not to a callback");
    }
    if (rule.budget != nullptr) {
      reader.Error(
          "rate, connections, bytes and lifetime belong to rules of the file, not to a callback");
    }
    RaiseFirst(lua, diagnostics);
  } else if (const auto text = ReadString(lua, index)) {
    ReadTextPattern(lua, *text, rule);
  } else {
    luaL_error(
        lua,
        "a pattern is a string like \"api.example.com:443\", a table, any or a function, not %s",
        DescribeType(lua, index).c_str());
  }
  return made;
}

// Calls the function at INDEX with the candidate { host, port, dst }.
bool AskFunction(lua_State* lua, int index, const Call& call) {
  const Facts& facts = *call.facts;
  lua_pushvalue(lua, index);
  lua_createtable(lua, 0, 3);
  PushHostName(lua, facts);
  lua_setfield(lua, -2, "host");
  if (call.kind != Call::Kind::kName) {
    lua_pushinteger(lua, facts.destination.port);
    lua_setfield(lua, -2, "port");
    PushDestination(lua, facts);
    lua_setfield(lua, -2, "dst");
  }
  lua_call(lua, 1, 1);
  const bool yes = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  return yes;
}

// A flow without a name to a special address is granted only by naming the address.
constexpr bool IsGuarded(AddressClass address_class) {
  return address_class == AddressClass::kLoopback || address_class == AddressClass::kLinkLocal ||
         address_class == AddressClass::kMetadata;
}

// The rule that grants just this flow, whatever it is: for conn:accept() and function patterns.
Call::RulePtr RuleForFlow(lua_State* lua, const Call& call, Rule::Kind kind) {
  Call::RulePtr made = NewRule(kind);
  Rule& rule = *made;
  const Facts& facts = *call.facts;
  if (facts.name) {
    rule.hosts.push_back(*HostPattern::Parse(facts.name->text()));
    return made;
  }
  const IpAddress& address = facts.destination.address;
  if (const AddressClass address_class = Classify(address); IsGuarded(address_class)) {
    luaL_error(lua, "%s is a %s address, granted only by naming it: conn:match_tcp \"%s\"",
               address.ToString().c_str(), std::string(ToString(address_class)).c_str(),
               facts.destination.ToString().c_str());
  }
  rule.ip.emplace();
  rule.ip->classes = 0;
  rule.ip->names_none = true;
  rule.ip->prefixes.push_back(Prefix(address, static_cast<unsigned>(address.bytes().size() * 8)));
  return made;
}

// What rules of KIND, which is not kDns, are about.
Transport TransportOf(Rule::Kind kind) {
  if (kind == Rule::Kind::kUdp) return Transport::kUdp;
  return kind == Rule::Kind::kIcmp ? Transport::kIcmp : Transport::kTcp;
}

bool Covers(const Rule& rule, const Call& call) {
  const Facts& facts = *call.facts;
  if (facts.transport != TransportOf(rule.kind)) return false;
  if (!rule.ports.Contains(facts.destination.port)) return false;
  return facts.name ? rule.MatchesName(*facts.name)
                    : rule.MatchesAddress(facts.destination.address);
}

int PushMatch(lua_State* lua, Call& call, Call::RulePtr rule);

void NoteInterest(Call& call, const Rule& rule) {
  call.interested = true;
  call.interest_filter.classes =
      static_cast<uint16_t>(call.interest_filter.classes | rule.resolves.classes);
  call.interest_filter.prefixes.insert(call.interest_filter.prefixes.end(),
                                       rule.resolves.prefixes.begin(),
                                       rule.resolves.prefixes.end());
}

template <Rule::Kind kKind>
int MatchFlow(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  lua_settop(lua, 2);
  const bool by_function = lua_type(lua, 2) == LUA_TFUNCTION;
  if (call.kind == Call::Kind::kName) {
    // Nothing is granted yet: the answer only says that the name may be looked up.
    const bool yes = by_function && AskFunction(lua, 2, call);
    if (by_function && yes) NoteInterest(call, Rule());
    if (!by_function) {
      const Call::RulePtr rule = ReadPattern(lua, 2, kKind);
      if (rule->MatchesName(*call.facts->name)) NoteInterest(call, *rule);
    }
    lua_pushnil(lua);
    return 1;
  }
  if (by_function) {
    if (call.facts->transport == TransportOf(kKind) && AskFunction(lua, 2, call)) {
      return PushMatch(lua, call, RuleForFlow(lua, call, kKind));
    }
  } else if (Call::RulePtr rule = ReadPattern(lua, 2, kKind); Covers(*rule, call)) {
    return PushMatch(lua, call, std::move(rule));
  }
  lua_pushnil(lua);
  return 1;
}

int MatchDns(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  lua_settop(lua, 2);
  if (call.kind == Call::Kind::kName) {
    Call::RulePtr rule;
    bool matches = true;
    if (lua_type(lua, 2) == LUA_TFUNCTION) {
      matches = AskFunction(lua, 2, call);
    } else if (!lua_isnil(lua, 2)) {
      rule = ReadPattern(lua, 2, Rule::Kind::kDns);
      matches = rule->MatchesName(*call.facts->name);
    }
    if (rule == nullptr) rule = NewRule(Rule::Kind::kDns);
    if (matches) return PushMatch(lua, call, std::move(rule));
  }
  lua_pushnil(lua);
  return 1;
}

// ---- What match functions return.

std::optional<DnsOptions::Answers> ReadAnswers(TableReader& reader) {
  const auto answers = reader.OneOf("answers", {"synthetic", "real"});
  if (!answers) return std::nullopt;
  return *answers == "real" ? DnsOptions::Answers::kReal : DnsOptions::Answers::kSynthetic;
}

void ReadOptions(lua_State* lua, int index, Rule& rule, Call& call) {
  Diagnostics diagnostics(HostOf(lua).file);
  TableReader reader(lua, index, diagnostics, "accept", CurrentLine(lua));
  if (rule.kind == Rule::Kind::kDns) {
    reader.Expect({"types", "resolves_to", "resolvers", "answers"});
    call.answers = ReadAnswers(reader);
    call.resolvers = ReadResolvers(reader);
    ReadTypes(reader, rule);
  } else {
    reader.Expect({"resolves_to", "to", "name"});
    ReadTo(reader, rule);
    if (const auto name = reader.String("name")) rule.id = Printable(*name, 100);
  }
  ReadResolvesTo(reader, rule);
  RaiseFirst(lua, diagnostics);
}

int AcceptMatch(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kMatch);
  CheckUndecided(lua, call);
  if (call.is_message()) return luaL_error(lua, "the connection is accepted already");
  const size_t number = ObjectNumber(lua, 1);
  if (number >= call.matches.size()) return luaL_error(lua, "this match is over");
  Call::RulePtr rule = call.matches[number];
  const int count = lua_gettop(lua);
  int function = LUA_NOREF;
  for (int i = 2; i <= count; ++i) {
    if (lua_type(lua, i) == LUA_TTABLE && i == 2) {
      rule = std::make_shared<Rule>(*rule);  // Options that raise leave the match as it was.
      ReadOptions(lua, i, *rule, call);
    } else if (lua_type(lua, i) == LUA_TFUNCTION && i == count && rule->kind == Rule::Kind::kHttp) {
      lua_pushvalue(lua, i);
      function = luaL_ref(lua, LUA_REGISTRYINDEX);
    } else if (!lua_isnil(lua, i)) {
      return luaL_error(lua, "accept takes a table of options%s, not %s",
                        rule->kind == Rule::Kind::kHttp ? ", a function(req), or both" : "",
                        DescribeType(lua, i).c_str());
    }
  }
  if (rule->kind != Rule::Kind::kHttp) call.accepted_line = CurrentLine(lua);
  call.function = function;
  call.accepted = std::move(rule);
  call.decision = Call::Decision::kAccepted;
  return 0;
}

// A new list, so that no script changes what another one sees.
void PushNames(lua_State* lua, const std::vector<HostName>& names) {
  lua_createtable(lua, static_cast<int>(names.size()), 0);
  lua_Integer at = 0;
  for (const HostName& name : names) {
    lua_pushlstring(lua, name.text().data(), name.text().size());
    lua_rawseti(lua, -2, ++at);
  }
}

constexpr luaL_Reg kMatchFunctions[] = {{"accept", &AcceptMatch}, {nullptr, nullptr}};

int IndexMatch(lua_State* lua) {
  const Call& call = CheckCall(lua, 1, kMatch);
  const std::string_view key = ViewString(lua, 2).value_or("");
  const bool dns = call.kind == Call::Kind::kName;
  if (key == (dns ? "name" : "host")) {
    PushHostName(lua, *call.facts);
    return 1;
  }
  if (dns && key == "type") {
    const std::string type = dns::TypeName(call.query->type);
    lua_pushlstring(lua, type.data(), type.size());
    return 1;
  }
  if (dns && key == "chain") {
    PushNames(lua, call.query->chain);
    return 1;
  }
  if (!dns && key == "port") {
    lua_pushinteger(lua, call.facts->destination.port);
    return 1;
  }
  if (!dns && key == "dst") {
    PushDestination(lua, *call.facts);
    return 1;
  }
  return IndexFunction(lua, "a match", {"host", "port", "dst", "name", "type", "chain"});
}

constexpr luaL_Reg kMatchMetamethods[] = {
    {"__index", &IndexMatch}, {"__newindex", &RaiseReadOnly}, {nullptr, nullptr}};
constexpr ObjectKind kMatchKind{kMatch, kMatchMetamethods, kMatchFunctions};

int PushMatch(lua_State* lua, Call& call, Call::RulePtr rule) {
  call.matches.push_back(std::move(rule));
  PushObject(lua, kMatchKind, call.matches.size() - 1);
  return 1;
}

// ---- The connection.

Rule::Kind KindOf(const Call& call) {
  if (call.kind == Call::Kind::kName) return Rule::Kind::kDns;
  switch (call.facts->transport) {
    case Transport::kUdp:
      return Rule::Kind::kUdp;
    case Transport::kIcmp:
      return Rule::Kind::kIcmp;
    case Transport::kTcp:
      break;
  }
  return Rule::Kind::kTcp;
}

int AcceptConnection(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  CheckUndecided(lua, call);
  if (call.is_message()) return luaL_error(lua, "the connection is accepted already");
  if (!lua_isnoneornil(lua, 2)) {
    return luaL_error(lua,
                      "conn:accept() takes nothing; options belong to a match: "
                      "conn:match_tcp(\"host:port\"):accept { ... }");
  }
  call.accepted = RuleForFlow(lua, call, KindOf(call));
  call.accepted_line = CurrentLine(lua);
  call.decision = Call::Decision::kAccepted;
  return 0;
}

int DenyConnection(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  CheckUndecided(lua, call);
  if (call.is_message())
    return luaL_error(lua, "the connection is accepted already; deny the request");
  const auto reason = ReadString(lua, 2);
  if (!reason && !lua_isnoneornil(lua, 2))
    return luaL_error(lua, "conn:deny takes a reason, as in conn:deny \"not today\"");
  call.reason = Printable(reason.value_or(""), 500);
  call.decision = Call::Decision::kDenied;
  return 0;
}

int AskConnection(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  CheckUndecided(lua, call);
  if (call.is_message())
    return luaL_error(lua, "the connection is accepted already; ask about the request");
  if (call.kind == Call::Kind::kName) {
    // Nothing is granted yet: the user is asked when there is a flow.
    NoteInterest(call, Rule());
    lua_pushboolean(lua, 1);
    return 1;
  }
  const bool guarded = !call.facts->name && IsGuarded(Classify(call.facts->destination.address));
  if (!guarded) call.fallback = RuleForFlow(lua, call, KindOf(call));
  call.accepted_line = CurrentLine(lua);
  return YieldForUser(lua, call, 2);
}

constexpr luaL_Reg kConnectionFunctions[] = {{"match_dns", &MatchDns},
                                             {"match_http", &MatchFlow<Rule::Kind::kHttp>},
                                             {"match_tcp", &MatchFlow<Rule::Kind::kTcp>},
                                             {"match_udp", &MatchFlow<Rule::Kind::kUdp>},
                                             {"match_icmp", &MatchFlow<Rule::Kind::kIcmp>},
                                             {"accept", &AcceptConnection},
                                             {"deny", &DenyConnection},
                                             {"ask", &AskConnection},
                                             {nullptr, nullptr}};

int IndexConnection(lua_State* lua) {
  Call& call = CheckCall(lua, 1, kConnection);
  const Facts& facts = *call.facts;
  const std::string_view key = ViewString(lua, 2).value_or("");
  const bool is_name = call.kind == Call::Kind::kName;
  if (is_name && (key == "transport" || key == "src" || key == "dst")) call.saw_flow = true;
  if (key == "id") {
    lua_pushinteger(lua, static_cast<lua_Integer>(facts.flow));
  } else if (key == "transport") {
    const std::string_view transport = is_name ? "dns" : ToString(facts.transport);
    lua_pushlstring(lua, transport.data(), transport.size());
  } else if (key == "host") {
    PushHostName(lua, facts);
  } else if (is_name && (key == "src" || key == "dst")) {
    // Neither is known yet; what is asked of them is answered with no, and the flow decides.
    PushEndpoint(lua, Endpoint(), false);
  } else if (key == "src") {
    PushEndpoint(lua, facts.source, true);
  } else if (key == "dst") {
    PushDestination(lua, facts);
  } else {
    return IndexFunction(lua, "a connection", {"id", "transport", "src", "dst", "host"});
  }
  return 1;
}

constexpr luaL_Reg kConnectionMetamethods[] = {
    {"__index", &IndexConnection}, {"__newindex", &RaiseReadOnly}, {nullptr, nullptr}};
constexpr ObjectKind kConnectionKind{kConnection, kConnectionMetamethods, kConnectionFunctions};

}  // namespace

void PushConnection(lua_State* lua) {
  PushObject(lua, kConnectionKind);
}

}  // namespace sallyport::policy
