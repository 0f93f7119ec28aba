#include <algorithm>

#include "policy/declarations.h"
#include "policy/script_host.h"

// `upstream { ... }` is about all servers; `upstream "HOST" { ... }` is two calls: the first
// returns a function, which takes the table.

namespace sallyport::policy {
namespace {

constexpr size_t kMaxServers = 1024;
constexpr size_t kPinBytes = 32;

void ReadFiles(TableReader& reader, const std::string& folder, std::vector<std::string>& files) {
  for (const std::string& path : reader.Strings("ca")) {
    if (path.empty() || path.find('\0') != path.npos) {
      reader.Error("'ca' must name PEM files");
      continue;
    }
    files.push_back(AbsolutePath(folder, path));
  }
}

int DeclareForAll(lua_State* lua, Loader& loader) {
  const int line = CurrentLine(lua);
  const auto [block, first] = loader.block_lines.emplace("upstream", line);
  if (!first) {
    loader.diagnostics.Error(
        line, "'upstream' stands twice; the first is at " + loader.diagnostics.At(block->second) +
                  " (what is about some hosts is written upstream \"api.example.com\" { ... })");
  }
  TableReader reader(lua, 1, loader.diagnostics, "upstream", line);
  reader.Expect({"ca", "proxy", "no_proxy"});
  for (const char* field : {"pin", "client_cert"}) {
    if (!reader.Has(field)) continue;
    reader.Error("'" + std::string(field) +
                 "' belongs to a host, as in upstream \"api.example.com\" { " + field + " = ... }");
  }
  ReadFiles(reader, loader.folder, loader.declared.upstream.ca_files);
  ReadProxy(reader, loader);
  return 0;
}

int DigitOf(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

// The 32 bytes that TEXT, base64 with its padding, stands for.
std::optional<std::string> DecodePin(std::string_view text) {
  if (text.size() != 44 || text.back() != '=') return std::nullopt;
  std::string bytes;
  uint32_t bits = 0;
  for (size_t i = 0; i < 43; ++i) {
    const int digit = DigitOf(text[i]);
    if (digit < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xffffff;
    if (i % 4 != 0) bytes += static_cast<char>(bits >> (6 - i % 4 * 2) & 0xff);
  }
  // The last digit has two bits more than a byte needs; in canonical base64 they are zero.
  if ((bits & 3) != 0 || bytes.size() != kPinBytes) return std::nullopt;
  return bytes;
}

void ReadPins(TableReader& reader, UpstreamOptions::Server& server) {
  constexpr std::string_view kPrefix = "sha256/";
  for (const std::string& text : reader.Strings("pin")) {
    std::optional<std::string> pin;
    if (text.starts_with(kPrefix)) pin = DecodePin(text.substr(kPrefix.size()));
    if (pin) {
      server.pins.push_back(*std::move(pin));
    } else {
      reader.Error("'pin': '" + Printable(text, 80) +
                   "' is not \"sha256/\" and the base64 of 32 bytes, the SHA-256 of a "
                   "certificate's public key");
    }
  }
}

void ReadClientCertificate(TableReader& outer, const std::string& folder,
                           UpstreamOptions::Server& server) {
  constexpr char kForm[] = "{ cert = \"client.pem\", key = file \"client-key.pem\" }";
  outer.ForEach("client_cert", TableReader::Tables::kListsAndValues, [&](int index) {
    lua_State* lua = outer.lua();
    if (lua_type(lua, index) != LUA_TTABLE) return outer.TypeError("client_cert", kForm, index);
    TableReader reader(outer, index, "client_cert");
    reader.Expect({"cert", "key"});
    const auto cert = reader.String("cert");
    const auto source = ReadSource(reader, "key");
    const auto* key = source ? std::get_if<FileSource>(&*source) : nullptr;
    if (!cert || cert->empty() || cert->find('\0') != cert->npos || key == nullptr) {
      return reader.Error("is written " + std::string(kForm));
    }
    server.client_cert = {AbsolutePath(folder, *cert), key->path};
  });
}

void ReadServer(TableReader& reader, Loader& loader, HostPattern host) {
  reader.Expect({"ca", "pin", "client_cert"});
  for (const char* field : {"proxy", "no_proxy"}) {
    if (!reader.Has(field)) continue;
    reader.Error("'" + std::string(field) + "' is about all hosts, as in upstream { proxy = "
                 "\"http://proxy.corp.example:3128\", no_proxy = { \"*.corp.example\" } }");
  }
  UpstreamOptions::Server server{.host = std::move(host),
                                 .declared_at = loader.diagnostics.At(reader.line()),
                                 .ca_files = {},
                                 .pins = {},
                                 .client_cert = {}};
  ReadFiles(reader, loader.folder, server.ca_files);
  ReadPins(reader, server);
  ReadClientCertificate(reader, loader.folder, server);
  auto& servers = loader.declared.upstream.servers;
  for (const UpstreamOptions::Server& earlier : servers) {
    if (!earlier.host.Covers(server.host)) continue;
    reader.Error("has no effect: " + earlier.declared_at + " ('" + earlier.host.ToString() +
                 "') decides first; put the narrower one before it");
    break;
  }
  servers.push_back(std::move(server));
}

// `upstream "HOST"` followed by its table. Upvalue: the host as it was written.
int GiveTable(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  const std::string text = lua_tostring(lua, lua_upvalueindex(1));
  const std::string what = "upstream \"" + text + "\"";
  loader.pending_upstreams.erase(text);
  if (IsAbsorber(lua, 1)) return 0;
  const int line = CurrentLine(lua);
  if (lua_type(lua, 1) != LUA_TTABLE || lua_gettop(lua) != 1) {
    loader.diagnostics.Error(line,
                             what + " takes one table, as in " + what + " { ca = \"corp.pem\" }");
    return 0;
  }
  if (loader.declared.upstream.servers.size() >= kMaxServers) {
    return luaL_error(lua, "too many upstream blocks");
  }
  TableReader reader(lua, 1, loader.diagnostics, what, line);
  if (auto host = HostPattern::Parse(text)) ReadServer(reader, loader, *std::move(host));
  return 0;
}

int Ignore(lua_State*) {
  return 0;
}

int DeclareUpstream(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (IsAbsorber(lua, 1)) {
    lua_pushcfunction(lua, &Ignore);
    return 1;
  }
  if (lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TTABLE) return DeclareForAll(lua, loader);
  const int line = CurrentLine(lua);
  const auto text = ReadString(lua, 1);
  if (!text || lua_gettop(lua) != 1) {
    loader.diagnostics.Error(line,
                             "upstream takes one table, as in upstream { ca = \"corp.pem\" }, "
                             "or a host before it");
    lua_pushcfunction(lua, &Ignore);
    return 1;
  }
  // The reader only words the messages; its table is not looked at.
  TableReader reader(lua, 1, loader.diagnostics, "upstream", line);
  if (!ReadHost(reader, "host", 1, AnyIs::kMistake)) {
    lua_pushcfunction(lua, &Ignore);
    return 1;
  }
  loader.pending_upstreams.emplace(*text, line);
  lua_settop(lua, 1);
  lua_pushcclosure(lua, &GiveTable, 1);
  return 1;
}

}  // namespace

void DefineUpstream(lua_State* lua) {
  lua_register(lua, "upstream", &DeclareUpstream);
}

}  // namespace sallyport::policy
