#include <algorithm>
#include <filesystem>

#include "policy/declarations.h"

// What several declarations have in common: hosts, addresses, ports, methods, paths.

namespace sallyport::policy {
namespace {

constexpr int64_t kStepsPerPattern = 200;  // Parsing a name, IDNA included.

const Words kGroups = {"public",    "private",   "loopback",      "link-local", "metadata",
                       "multicast", "broadcast", "documentation", "reserved"};

const Words kMethods = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};

// "10.0.0.1/8": what was meant, with the bits past the length cleared.
std::string ClearedPrefix(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return {};
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address) return {};
  for (unsigned length = 0; length <= address->bytes().size() * 8; ++length) {
    if (text.substr(slash + 1) == std::to_string(length))
      return Prefix(*address, length).ToString();
  }
  return {};
}

std::string ExplainBadAddress(const std::string& text) {
  std::string message = "'" + Printable(text, 60) + "' is not an address, a CIDR or a group";
  if (text == "any") return message + "; every public address is the group \"public\"";
  if (text == "lan" || text == "local") return message + "; did you mean 'private'?";
  if (const std::string cleared = ClearedPrefix(text); !cleared.empty()) {
    return message + "; its address has bits beyond its length: write '" + cleared + "'";
  }
  if (const std::string hint = DidYouMean(text, kGroups); !hint.empty()) return message + hint;
  if (HostPattern::Parse(text)) return message + "; a name is written host = \"" + text + "\"";
  return message;
}

void ReadAddress(TableReader& reader, const char* field, int index, AddressFilter& filter) {
  const auto text = ReadString(reader.lua(), index);
  if (!text)
    return reader.TypeError(field, "an address, a CIDR, a group or a list of these", index);
  if (const auto group = ParseAddressClass(*text)) {
    filter.classes = static_cast<uint16_t>(filter.classes | static_cast<uint16_t>(*group));
    return;
  }
  const auto prefix = Prefix::Parse(*text);
  if (!prefix) return reader.Error("'" + std::string(field) + "': " + ExplainBadAddress(*text));
  filter.prefixes.push_back(*prefix);
}

}  // namespace

std::string ExplainBadHost(const std::string& text) {
  if (text.find("://") != text.npos) {
    return "'" + Printable(text, 60) +
           "' is a URL; write its host alone, and path = \"/...\" beside it";
  }
  const bool bare_v6 = IpAddress::Parse(text).has_value();
  if (const auto address =
          ParseHost(bare_v6 && text.find(':') != text.npos ? "[" + text + "]" : text);
      address && std::holds_alternative<IpAddress>(*address)) {
    return "'" + Printable(text, 60) + "' is an address, not a name; write ip = \"" +
           std::get<IpAddress>(*address).ToString() + "\"";
  }
  if (const auto authority = ParseAuthority(text); authority && authority->port) {
    return "'" + Printable(text, 60) + "' has a port; write host = \"" + ToString(authority->host) +
           "\", port = " + std::to_string(*authority->port);
  }
  if (text.find('/') != text.npos) {
    if (Prefix::Parse(text))
      return "'" + Printable(text, 60) + "' is a CIDR, not a name; write ip = \"" + text + "\"";
    return "'" + Printable(text, 60) + "' is not a host; a path is written path = \"/...\"";
  }
  auto pattern = HostPattern::Parse(text);
  return pattern ? std::string() : pattern.error().message();
}

std::optional<HostPattern> ReadHost(TableReader& reader, const char* field, int index, AnyIs any) {
  LuaState::Of(reader.lua()).Charge(kStepsPerPattern);
  if (IsAny(reader.lua(), index)) {
    if (any == AnyIs::kHost) return HostPattern::Any();
    reader.Error("'" + std::string(field) + "' can't be any; name the hosts");
    return std::nullopt;
  }
  const auto text = ViewString(reader.lua(), index);
  if (!text) {
    reader.TypeError(field, "a name or a list of names", index);
    return std::nullopt;
  }
  if (*text == "any") {
    reader.Error("'" + std::string(field) +
                 "': \"any\" is a name like another; every public name is the value any, "
                 "without quotes");
    return std::nullopt;
  }
  auto pattern = HostPattern::Parse(*text);
  if (pattern) return *std::move(pattern);
  reader.Error("'" + std::string(field) + "': " + ExplainBadHost(std::string(*text)));
  return std::nullopt;
}

std::vector<std::string> ReadMethods(TableReader& reader, const char* field) {
  std::vector<std::string> methods = reader.Strings(field);
  for (const std::string& method : methods) {
    if (std::find(kMethods.begin(), kMethods.end(), method) != kMethods.end()) continue;
    std::string upper = method;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    const bool known = std::find(kMethods.begin(), kMethods.end(), upper) != kMethods.end();
    if (method == "*") {
      reader.Error("'" + std::string(field) +
                   "': '*' is no method; every method is meant without '" + std::string(field) +
                   "'");
    } else if (!IsToken(method) || known) {
      reader.Error("'" + std::string(field) + "': '" + Printable(method, 40) + "' is not a method" +
                   DidYouMean(method, kMethods));
    } else if (!known) {
      if (const auto hint = DidYouMean(method, kMethods); !hint.empty()) {
        reader.diagnostics().Warning(reader.line(),
                                     reader.what() + ": unusual method '" + method + "'" + hint);
      }
    }
  }
  return methods;
}

std::vector<PathGlob> ReadPaths(TableReader& reader, const char* field) {
  std::vector<PathGlob> globs;
  reader.ForEach(field, TableReader::Tables::kLists, [&](int index) {
    const auto text = ViewString(reader.lua(), index);
    if (!text) return reader.TypeError(field, "a string or a list of strings", index);
    LuaState::Of(reader.lua()).Charge(kStepsPerPattern);
    auto glob = PathGlob::Parse(*text);
    if (!glob) {
      return reader.Error("'" + std::string(field) + "': " + Printable(glob.error().message(), 300));
    }
    if (text->find_first_of("[]{}") != text->npos) {
      reader.Warning(
          "'" + std::string(field) + "': '[', ']', '{' and '}' in '" + Printable(*text, 60) +
          "' stand for themselves; the wildcards are '*' and '**', and several paths are a list");
    }
    globs.push_back(*std::move(glob));
  });
  return globs;
}

std::optional<uint16_t> ReadPort(lua_State* lua, int index) {
  if (lua_type(lua, index) != LUA_TNUMBER) return std::nullopt;
  int exact = 0;
  const lua_Integer port = lua_tointegerx(lua, index, &exact);
  if (exact == 0 || port < 1 || port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

void ReadAddresses(TableReader& reader, const char* field, AddressFilter& filter) {
  reader.ForEach(field, TableReader::Tables::kLists, [&](int index) {
    LuaState::Of(reader.lua()).Charge(kStepsPerPattern);
    ReadAddress(reader, field, index, filter);
  });
}

std::string AbsolutePath(const std::string& folder, const std::string& path) {
  return (std::filesystem::path(folder) / path).lexically_normal().string();
}

}  // namespace sallyport::policy
