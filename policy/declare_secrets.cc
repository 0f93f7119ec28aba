#include <algorithm>
#include <cstring>

#include "policy/declarations.h"
#include "policy/framing_headers.h"
#include "policy/script_host.h"

// `secret "NAME" { ... }` is two calls: the first returns the handle, the second gives the handle
// its table. A handle without a table is found at the end of the file.

namespace sallyport::policy {
namespace {

constexpr char kHandleName[] = "sallyport.secret";
constexpr size_t kMaxName = 128;

struct Handle {
  std::array<char, kMaxName + 1> name;
};

void ReadFrom(TableReader& reader, SecretSpec& spec) {
  lua_State* lua = reader.lua();
  if (auto source = ReadSource(reader, "from")) spec.source = *std::move(source);
  if (!reader.Has("from")) {
    lua_pushliteral(lua, "from");
    lua_rawget(lua, reader.index());
    if (!IsAbsorber(lua, -1))
      reader.Error("needs a 'from', as in from = env \"" + spec.name + "\"");
    lua_pop(lua, 1);
  }
}

void ReadSecretHosts(TableReader& reader, SecretSpec& spec) {
  const bool there = reader.ForEach("hosts", TableReader::Tables::kLists, [&](int index) {
    auto host = ReadHost(reader, "hosts", index, AnyIs::kMistake);
    if (!host) return;
    if (host->is_wildcard() && IsPublicSuffix(*host->name())) {
      return reader.Error("'hosts': '" + host->ToString() + "' spans names of different owners ('" +
                          host->name()->text() +
                          "' is a public suffix); name the hosts that may receive the secret");
    }
    spec.hosts.push_back(*std::move(host));
  });
  if (!there)
    reader.Error("needs 'hosts': who may receive it, as in hosts = { \"api.example.com\" }");
}

bool CheckHeaderName(TableReader& reader, const char* field, const std::string& name) {
  if (!IsToken(name)) {
    reader.Error("'" + std::string(field) + "': '" + Printable(name, 60) +
                 "' is not a header's name");
    return false;
  }
  if (IsFramingHeader(name)) {
    reader.Error("'" + std::string(field) + "': '" + name +
                 "' belongs to the gate and can't hold a secret");
    return false;
  }
  return true;
}

void ReadHeaders(TableReader& reader, SecretSpec& spec) {
  if (reader.Has("headers")) {
    spec.headers.emplace();
    for (std::string& name : reader.Strings("headers")) {
      if (CheckHeaderName(reader, "headers", name)) spec.headers->push_back(std::move(name));
    }
  }
  reader.ForEachField("inject", [&](const std::string& name, int index) {
    const auto form = ReadString(reader.lua(), index);
    if (!form) return reader.TypeError("inject", "{ authorization = \"Bearer {}\" }", index);
    if (!CheckHeaderName(reader, "inject", name)) return;
    const size_t place = form->find("{}");
    if (place == form->npos || form->find("{}", place + 1) != form->npos || !IsFieldValue(*form)) {
      return reader.Error("'inject': the value for '" + name +
                          "' must be a header's value with one {}, as in \"Bearer {}\"");
    }
    for (const auto& [other, unused] : spec.inject) {
      if (EqualsIgnoreCase(other, name))
        return reader.Error("'inject': '" + name + "' stands twice");
    }
    spec.inject.emplace_back(name, *form);
  });
}

// The places beside header fields.
void ReadPlaces(TableReader& reader, SecretSpec& spec) {
  using Body = SecretSpec::Body;
  spec.query = reader.Bool("query").value_or(false);
  spec.path = reader.Bool("path").value_or(false);
  if (const auto body = reader.OneOf("body", {"json", "form", "text"})) {
    spec.body = *body == "json" ? Body::kJson : *body == "form" ? Body::kForm : Body::kText;
  }
}

void ReadNarrowing(TableReader& reader, SecretSpec& spec) {
  spec.methods = ReadMethods(reader, "methods");
  for (const PathGlob& glob : ReadPaths(reader, "paths")) spec.paths.push_back(glob.text());
  reader.ForEach("ports", TableReader::Tables::kLists, [&](int index) {
    if (const auto port = ReadPort(reader.lua(), index)) return spec.ports.push_back(*port);
    reader.TypeError("ports", "a port from 1 to 65535 or a list of ports", index);
  });
}

void ReadBehaviour(TableReader& reader, SecretSpec& spec) {
  using Foreign = SecretSpec::Foreign;
  using OnViolation = SecretSpec::OnViolation;
  spec.expose = reader.Bool("expose").value_or(true);
  spec.plaintext = reader.Bool("plaintext").value_or(false);
  if (const auto foreign = reader.OneOf("foreign", {"block", "strip", "pass"})) {
    spec.foreign = *foreign == "block"   ? Foreign::kBlock
                   : *foreign == "strip" ? Foreign::kStrip
                                         : Foreign::kPass;
  }
  if (const auto violation = reader.OneOf("on_violation", {"block", "pass", "terminate"})) {
    spec.on_violation = *violation == "block"  ? OnViolation::kBlock
                        : *violation == "pass" ? OnViolation::kPass
                                               : OnViolation::kTerminate;
  }
  spec.scrub = reader.Bool("scrub").value_or(true);
  spec.placeholder = reader.String("placeholder");
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f; };
  if (spec.placeholder &&
      (spec.placeholder->empty() ||
       !std::all_of(spec.placeholder->begin(), spec.placeholder->end(), visible))) {
    reader.Error("'placeholder' must be printable ASCII without spaces");
  }
  if (spec.placeholder && spec.placeholder->find("{random}") == std::string::npos) {
    reader.Error("'placeholder' must have {random} in it, once, as in \"ghp_{random}\"");
  }
  const bool in_url = spec.query || spec.path || spec.body == SecretSpec::Body::kForm;
  if (in_url && spec.placeholder && spec.placeholder->find('%') != std::string::npos) {
    reader.Error("'placeholder' can't have a '%' where it may stand in a path, a query or a form");
  }
}

// A placeholder in one of these would break every program in the sandbox.
void CheckVariable(TableReader& reader, const SecretSpec& spec) {
  static constexpr std::string_view kGuestsOwn[] = {
      "PATH", "HOME", "USER", "SHELL", "TERM", "PWD", "TMPDIR", "LANG", "LC_ALL", "TZ",
      "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
      "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
      "http_proxy", "https_proxy", "all_proxy", "no_proxy"};
  const bool own = spec.name.starts_with("LD_") ||
                   std::ranges::find(kGuestsOwn, spec.name) != std::ranges::end(kGuestsOwn);
  if (!spec.expose || !own) return;
  reader.Error("the guest would find the placeholder in its variable " + spec.name +
               ", which means something else; choose another name, or write expose = false");
}

void ReadSecret(TableReader& reader, SecretSpec& spec) {
  reader.Expect({"from", "hosts", "headers", "inject", "methods", "paths", "ports", "expose",
                 "plaintext", "foreign", "on_violation", "placeholder", "scrub", "query", "path",
                 "body"});
  ReadFrom(reader, spec);
  ReadSecretHosts(reader, spec);
  ReadHeaders(reader, spec);
  ReadPlaces(reader, spec);
  ReadNarrowing(reader, spec);
  ReadBehaviour(reader, spec);
  CheckVariable(reader, spec);
}

const Handle& CheckHandle(lua_State* lua, int index) {
  return *static_cast<const Handle*>(luaL_checkudata(lua, index, kHandleName));
}

// `secret "NAME"` followed by its table.
int GiveTable(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const std::string name = CheckHandle(lua, 1).name.data();
  const int line = CurrentLine(lua);
  const std::string what = "secret \"" + name + "\"";
  lua_settop(lua, 2);
  const bool pending = loader.pending_secrets.erase(name) > 0;
  if (!pending) {
    // A duplicate was reported where its name stood.
    if (loader.secret_lines.contains(name))
      loader.diagnostics.Error(line, what + " has its table already");
  } else if (lua_type(lua, 2) != LUA_TTABLE) {
    if (!IsAbsorber(lua, 2))
      loader.diagnostics.Error(
          line, what + " takes one table, as in " + what + " { from = ..., hosts = ... }");
  } else {
    SecretSpec spec;
    spec.name = name;
    spec.declared_at = loader.diagnostics.At(line);
    TableReader reader(lua, 2, loader.diagnostics, what, line);
    ReadSecret(reader, spec);
    if (!spec.hosts.empty()) loader.declared.secrets.push_back(std::move(spec));
  }
  lua_settop(lua, 1);
  return 1;
}

int Concatenate(lua_State* lua) {
  lua_settop(lua, 2);
  for (int i = 1; i <= 2; ++i) {
    if (IsSecretHandle(lua, i)) {
      PushPlaceholder(lua, i);
      lua_replace(lua, i);
    } else if (lua_isstring(lua, i) == 0) {
      return luaL_error(lua, "attempt to concatenate a %s value with a secret",
                        luaL_typename(lua, i));
    }
  }
  lua_concat(lua, 2);
  return 1;
}

int ToText(lua_State* lua) {
  PushPlaceholder(lua, 1);
  return 1;
}

int NoField(lua_State* lua) {
  return luaL_error(lua, "a secret has no fields: a policy sees its placeholder, never its value");
}

int DeclareSecret(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const int line = CurrentLine(lua);
  if (IsAbsorber(lua, 1)) {
    lua_settop(lua, 1);
    return 1;
  }
  const auto name = ReadString(lua, 1);
  if (!name || !IsSecretName(*name)) {
    loader.diagnostics.Error(
        line,
        "secret takes a name of letters, digits and '_', as in secret \"GITHUB_TOKEN\" { ... }");
    PushAbsorber(lua);
    return 1;
  }
  if (lua_gettop(lua) > 1 && !IsAbsorber(lua, 2)) {
    loader.diagnostics.Error(
        line, "the table of a secret stands behind its name, without '(' and ',': secret \"" +
                  *name + "\" { ... }");
    PushAbsorber(lua);
    return 1;
  }
  const auto [first, is_new] = loader.secret_lines.emplace(*name, line);
  if (!is_new) {
    loader.diagnostics.Error(line, "secret \"" + *name + "\" is declared twice; the first is at " +
                                       loader.diagnostics.At(first->second));
    PushAbsorber(lua);
    return 1;
  }
  loader.pending_secrets.emplace(*name, line);
  PushSecretHandle(lua, *name);
  return 1;
}

}  // namespace

void PushSecretHandle(lua_State* lua, const std::string& name) {
  auto* handle = static_cast<Handle*>(lua_newuserdatauv(lua, sizeof(Handle), 0));
  handle->name = {};
  std::copy_n(name.begin(), std::min(name.size(), kMaxName), handle->name.begin());
  if (luaL_newmetatable(lua, kHandleName) != 0) {
    static constexpr luaL_Reg kMethods[] = {{"__call", &GiveTable},   {"__concat", &Concatenate},
                                            {"__tostring", &ToText},  {"__index", &NoField},
                                            {"__newindex", &NoField}, {nullptr, nullptr}};
    luaL_setfuncs(lua, kMethods, 0);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
  }
  lua_setmetatable(lua, -2);
}

bool IsSecretHandle(lua_State* lua, int index) {
  return luaL_testudata(lua, index, kHandleName) != nullptr;
}

void PushPlaceholder(lua_State* lua, int index) {
  const std::string_view name = CheckHandle(lua, index).name.data();
  const ScriptHost& host = HostOf(lua);
  if (host.loader != nullptr) {
    luaL_error(lua,
               "the secret %s can't be used as text while the file loads; use it in a callback",
               name.data());
  }
  const auto placeholder = host.placeholders.find(name);
  if (placeholder == host.placeholders.end())
    luaL_error(lua, "the secret %s has no placeholder", name.data());
  lua_pushlstring(lua, placeholder->second.data(), placeholder->second.size());
}

void DefineSecrets(lua_State* lua) {
  lua_register(lua, "secret", &DeclareSecret);
}

}  // namespace sallyport::policy
