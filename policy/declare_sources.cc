#include <algorithm>

#include "policy/declarations.h"
#include "policy/script_host.h"

// Where secrets come from: env, file, command, oauth2 and github_app. Each makes a value that only
// `from`, and the fields of the last two that are secrets themselves, take. What it says is kept in
// the loader; the value holds its number. Nothing is read or run here.

namespace sallyport::policy {
namespace {

constexpr char kSourceName[] = "sallyport.source";
constexpr size_t kMaxName = 128;
/// Sources of one file: some for each secret, and the store takes 1024 of those.
constexpr size_t kMaxSources = 4096;
constexpr size_t kMaxArguments = 256;
/// Days: what prints a credential prints one that ends some day.
constexpr std::chrono::hours kMaxLifetime{24 * 365};

struct SourceNumber {
  size_t value;
};

int PushSource(lua_State* lua, Loader& loader, SecretSource source) {
  if (loader.sources.size() >= kMaxSources) {
    loader.diagnostics.Error(CurrentLine(lua), "more than 4096 sources of secrets");
    PushAbsorber(lua);
    return 1;
  }
  auto* number = static_cast<SourceNumber*>(lua_newuserdatauv(lua, sizeof(SourceNumber), 0));
  number->value = loader.sources.size();
  if (luaL_newmetatable(lua, kSourceName) != 0) {
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
  }
  lua_setmetatable(lua, -2);
  loader.sources.push_back(std::move(source));
  return 1;
}

/// Whether TEXT can be an argument of a program, a path, or part of a request.
bool IsPlainText(const std::string& text) {
  return !text.empty() && std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

int EnvFunction(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  auto name = ReadString(lua, 1);
  if (!name || !IsSecretName(*name)) {
    loader.diagnostics.Error(CurrentLine(lua),
                             "env takes the name of a variable, as in env \"GITHUB_TOKEN\"");
    name.emplace();
  }
  return PushSource(lua, loader, EnvSource{*std::move(name)});
}

int FileFunction(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const auto path = ReadString(lua, 1);
  FileSource source;
  if (!path || path->empty() || path->find('\0') != path->npos) {
    loader.diagnostics.Error(CurrentLine(lua), "file takes a path, as in file \"token.txt\"");
  } else {
    source.path = AbsolutePath(loader.folder, *path);
  }
  return PushSource(lua, loader, std::move(source));
}

/// The table that the function WHAT was given, as WHAT EXAMPLE shows; without one, an absorber is
/// on the stack.
bool TakesTable(lua_State* lua, Loader& loader, const std::string& what, const char* example) {
  if (lua_type(lua, 1) == LUA_TTABLE && lua_gettop(lua) == 1) return true;
  if (!IsAbsorber(lua, 1)) {
    loader.diagnostics.Error(CurrentLine(lua),
                             what + " takes one table, as in " + what + " " + example);
  }
  PushAbsorber(lua);
  return false;
}

int CommandFunction(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (!TakesTable(lua, loader, "command", "{ \"gh\", \"auth\", \"token\", lifetime = \"1h\" }"))
    return 1;
  TableReader reader(lua, 1, loader.diagnostics, "command", CurrentLine(lua));
  const auto count =
      static_cast<lua_Integer>(std::min<lua_Unsigned>(lua_rawlen(lua, 1), kMaxArguments));
  reader.Expect({"lifetime"}, count);
  CommandSource source{.argv = {}, .folder = loader.folder};
  for (lua_Integer i = 1; i <= count; ++i) {
    auto argument = reader.StringAt(i);
    if (!argument || argument->find('\0') != argument->npos) {
      reader.Error("argument " + std::to_string(i) + " must be a string");
      continue;
    }
    source.argv.push_back(*std::move(argument));
  }
  if (count == 0 || (!source.argv.empty() && source.argv.front().empty())) {
    reader.Error("names no program, as in command { \"gh\", \"auth\", \"token\" }");
  }
  if (const auto text = reader.String("lifetime")) {
    const auto lifetime = ParseDuration(*text);
    if (lifetime && lifetime->count() > 0 && *lifetime <= kMaxLifetime) {
      source.lifetime = *lifetime;
    } else {
      reader.Error("'lifetime' must be a duration like \"30s\", \"5m\" or \"1h\", not \"" +
                   Printable(*text, 40) + "\"");
    }
  }
  return PushSource(lua, loader, std::move(source));
}

/// The source that stands in FIELD.
std::optional<SecretSource> SourceAt(TableReader& reader, const char* field, const char* wanted) {
  if (!reader.Has(field)) return std::nullopt;
  lua_State* lua = reader.lua();
  lua_pushstring(lua, field);
  lua_rawget(lua, reader.index());
  std::optional<SecretSource> source;
  if (const auto* number = static_cast<const SourceNumber*>(luaL_testudata(lua, -1, kSourceName))) {
    source = LoaderOf(lua).sources.at(number->value);
  } else {
    reader.TypeError(field, wanted, -1);
  }
  lua_pop(lua, 1);
  return source;
}

std::optional<PlainSource> PlainSourceAt(TableReader& reader, const char* field) {
  constexpr char kWanted[] = "env \"NAME\", file \"path\" or command { ... }";
  const auto source = SourceAt(reader, field, kWanted);
  if (!source) return std::nullopt;
  if (const auto* env = std::get_if<EnvSource>(&*source)) return *env;
  if (const auto* file = std::get_if<FileSource>(&*source)) return *file;
  if (const auto* command = std::get_if<CommandSource>(&*source)) return *command;
  reader.Error("'" + std::string(field) + "' must be " + kWanted + ", not another server's token");
  return std::nullopt;
}

/// Whether credentials may go to URL without TLS.
bool IsLoopback(const Host& host) {
  if (const auto* address = std::get_if<IpAddress>(&host))
    return Classify(*address) == AddressClass::kLoopback;
  return std::get<HostName>(host).text() == "localhost";
}

std::optional<std::string> RequiredText(TableReader& reader, const char* field) {
  auto text = reader.String(field);
  if (text && !IsPlainText(*text)) {
    reader.Error("'" + std::string(field) +
                 "' must be text without control characters, and not empty");
  } else if (!text && !reader.Has(field)) {
    reader.Error("needs '" + std::string(field) + "'");
  }
  return text;
}

/// RFC 6749, 3.3.
bool IsScope(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
}

void ReadGrant(TableReader& reader, OAuth2Source& source) {
  const auto grant = reader.OneOf("grant", {"client_credentials", "refresh_token"});
  source.client_secret = PlainSourceAt(reader, "client_secret");
  source.refresh_token = PlainSourceAt(reader, "refresh_token");
  if (grant == "refresh_token" || (!grant && source.refresh_token)) {
    source.grant = OAuth2Source::Grant::kRefreshToken;
    if (!reader.Has("refresh_token"))
      reader.Error("needs 'refresh_token', as in refresh_token = file \"refresh.txt\"");
    return;
  }
  if (reader.Has("refresh_token")) reader.Error("'refresh_token' is for grant = \"refresh_token\"");
  if (!reader.Has("client_secret"))
    reader.Error("needs 'client_secret', as in client_secret = env \"CLIENT_SECRET\"");
}

int OAuth2Function(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (!TakesTable(lua, loader, "oauth2",
                  "{ token_url = \"https://...\", client_id = \"...\", client_secret = env "
                  "\"CLIENT_SECRET\" }")) {
    return 1;
  }
  TableReader reader(lua, 1, loader.diagnostics, "oauth2", CurrentLine(lua));
  reader.Expect({"token_url", "client_id", "client_secret", "scopes", "audience", "grant",
                 "refresh_token", "auth", "private"});
  OAuth2Source source;
  source.private_network = reader.Bool("private").value_or(false);
  if (const auto text = RequiredText(reader, "token_url")) {
    if (auto url = ReadServerUrl(reader, "token_url", *text, source.private_network))
      source.token_url = *std::move(url);
  }
  source.client_id = RequiredText(reader, "client_id").value_or("");
  source.scopes = reader.Strings("scopes");
  for (const auto& scope : source.scopes) {
    if (!IsScope(scope))
      reader.Error("'scopes': '" + Printable(scope, 60) +
                   "' is not a scope; each is one string without spaces");
  }
  if (reader.Has("audience")) source.audience = RequiredText(reader, "audience");
  if (reader.OneOf("auth", {"basic", "post"}) == "post") source.auth = OAuth2Source::Auth::kPost;
  ReadGrant(reader, source);
  return PushSource(lua, loader, std::move(source));
}

bool IsDigits(const std::string& text) {
  return !text.empty() && text.size() <= 20 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// An id that people write as a number or as a string.
std::string IdAt(TableReader& reader, const char* field) {
  lua_State* lua = reader.lua();
  lua_pushstring(lua, field);
  const int type = lua_rawget(lua, reader.index());
  const bool is_number =
      type == LUA_TNUMBER && lua_isinteger(lua, -1) != 0 && lua_tointeger(lua, -1) > 0;
  const std::string digits = is_number ? std::to_string(lua_tointeger(lua, -1)) : "";
  lua_pop(lua, 1);
  return is_number ? digits : RequiredText(reader, field).value_or("");
}

void ReadTokenScope(TableReader& reader, GitHubAppSource& source) {
  source.repositories = reader.Strings("repositories");
  for (const auto& name : source.repositories) {
    if (!IsPlainText(name) || name.find('/') != name.npos) {
      reader.Error("'repositories': '" + Printable(name, 100) +
                   "' must be a repository's name without its owner");
    }
  }
  static const Words kLevels = {"read", "write", "admin"};
  reader.ForEachField("permissions", [&](const std::string& name, int index) {
    const auto level = ReadString(reader.lua(), index);
    if (!level || std::find(kLevels.begin(), kLevels.end(), *level) == kLevels.end()) {
      return reader.Error("'permissions': '" + Printable(name, 60) +
                          "' must be \"read\", \"write\" or \"admin\"" +
                          (level ? DidYouMean(*level, kLevels) : ""));
    }
    source.permissions.emplace_back(name, *level);
  });
}

int GitHubAppFunction(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (!TakesTable(lua, loader, "github_app",
                  "{ app_id = 123, installation_id = 456, private_key = file \"app.pem\" }")) {
    return 1;
  }
  TableReader reader(lua, 1, loader.diagnostics, "github_app", CurrentLine(lua));
  reader.Expect({"app_id", "installation_id", "private_key", "repositories", "permissions",
                 "base_url", "private"});
  GitHubAppSource source;
  source.private_network = reader.Bool("private").value_or(false);
  const std::string base = reader.String("base_url").value_or("https://api.github.com");
  if (auto url = ReadServerUrl(reader, "base_url", base, source.private_network))
    source.base_url = *std::move(url);
  if (source.base_url.target.find('?') != std::string::npos) reader.Error("'base_url' has a query");
  source.app_id = IdAt(reader, "app_id");
  source.installation_id = IdAt(reader, "installation_id");
  if (reader.Has("installation_id") && !IsDigits(source.installation_id))
    reader.Error("'installation_id' must be a number");
  if (const auto key = PlainSourceAt(reader, "private_key")) {
    source.private_key = *key;
  } else if (!reader.Has("private_key")) {
    reader.Error("needs 'private_key', as in private_key = file \"app.pem\"");
  }
  ReadTokenScope(reader, source);
  return PushSource(lua, loader, std::move(source));
}

}  // namespace

std::optional<HttpUrl> ReadServerUrl(TableReader& reader, const char* field,
                                     const std::string& text, bool private_network) {
  auto url = HttpUrl::Parse(text);
  const std::string where = "'" + std::string(field) + "': '" + Printable(text, 200) + "' ";
  if (!url) {
    reader.Error(where + "is not a URL: " + Printable(url.error().message(), 200));
    return std::nullopt;
  }
  if (!url->tls && !IsLoopback(url->host)) {
    reader.Error(where + "must begin with https://, as credentials go there");
    return std::nullopt;
  }
  if (!private_network && IsLoopback(url->host)) {
    reader.Error(where + "is this host; add private = true if that is meant");
    return std::nullopt;
  }
  return *std::move(url);
}

bool IsSecretName(std::string_view name) {
  const auto is_letter = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && name.size() <= kMaxName && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool IsSource(TableReader& reader, const char* field) {
  lua_State* lua = reader.lua();
  lua_pushstring(lua, field);
  lua_rawget(lua, reader.index());
  const bool is_source = luaL_testudata(lua, -1, kSourceName) != nullptr;
  lua_pop(lua, 1);
  return is_source;
}

std::optional<SecretSource> ReadSource(TableReader& reader, const char* field) {
  return SourceAt(
      reader, field,
      "env \"NAME\", file \"path\", command { ... }, oauth2 { ... } or github_app { ... }");
}

void DefineSources(lua_State* lua) {
  lua_register(lua, "env", &EnvFunction);
  lua_register(lua, "file", &FileFunction);
  lua_register(lua, "command", &CommandFunction);
  lua_register(lua, "oauth2", &OAuth2Function);
  lua_register(lua, "github_app", &GitHubAppFunction);
}

}  // namespace sallyport::policy
