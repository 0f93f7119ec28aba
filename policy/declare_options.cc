#include <algorithm>
#include <charconv>

#include "policy/declarations.h"
#include "policy/script_host.h"

namespace sallyport::policy {
namespace {

// A block may stand once: with two, the reader of a file could not tell which one counts.
bool FirstBlock(lua_State* lua, Loader& loader, const std::string& what) {
  const int line = CurrentLine(lua);
  const auto [block, first] = loader.block_lines.emplace(what, line);
  if (!first) {
    loader.diagnostics.Error(line, "'" + what + "' stands twice; the first is at " +
                                       loader.diagnostics.At(block->second));
  }
  if (IsAbsorber(lua, 1)) return false;
  if (lua_type(lua, 1) == LUA_TTABLE && lua_gettop(lua) == 1) return true;
  loader.diagnostics.Error(line, what + " takes one table, as in " + what + " { ... }");
  return false;
}

// TEXT as a number and what follows it. Nothing for an overflow, or no number.
std::optional<std::pair<uint64_t, std::string_view>> SplitNumber(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return std::pair(number, text.substr(static_cast<size_t>(end - text.data())));
}

}  // namespace

std::optional<uint64_t> ParseSize(std::string_view text) {
  static constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"B", 1}, {"KiB", uint64_t{1} << 10}, {"MiB", uint64_t{1} << 20}, {"GiB", uint64_t{1} << 30}};
  const auto split = SplitNumber(text);
  if (!split) return std::nullopt;
  for (const auto& [unit, factor] : kUnits) {
    if (split->second == unit && split->first <= UINT64_MAX / factor) return split->first * factor;
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  static constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  constexpr uint64_t kMost = uint64_t{365} * 24 * 3'600'000;
  const auto split = SplitNumber(text);
  if (!split) return std::nullopt;
  for (const auto& [unit, factor] : kUnits) {
    if (split->second == unit && split->first <= kMost / factor) {
      return std::chrono::milliseconds(split->first * factor);
    }
  }
  return std::nullopt;
}

namespace {

bool IsVariableName(std::string_view name) {
  const auto is_letter = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool HasNul(std::string_view text) {
  return text.find('\0') != text.npos;
}

// A path inside the sandbox.
bool IsInnerPath(std::string_view path) {
  if (!path.starts_with('/') || HasNul(path)) return false;
  const std::string walled = std::string(path) + "/";
  return walled.find("/../") == walled.npos && walled.find("/./") == walled.npos;
}

// PATH, an IsInnerPath, in the one spelling that can be compared: without empty parts, and without
// a '/' at the end.
std::string Plain(std::string_view path) {
  std::string plain;
  for (size_t start = 1; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (end > start) plain.append("/").append(path.substr(start, end - start));
    start = end + 1;
  }
  return plain.empty() ? "/" : plain;
}

std::optional<SandboxOptions::Mount> ReadMount(TableReader& reader, const std::string& folder) {
  reader.Expect({"mode", "template"}, 2);
  const auto source = reader.StringAt(1);
  const auto target = reader.StringAt(2);
  const auto mode = reader.OneOf("mode", {"rw", "ro"});
  const bool is_template = reader.Bool("template").value_or(false);
  if (is_template && mode == "rw") {
    reader.Error("a template is copied into the sandbox; it can't have mode = \"rw\"");
  }
  if (!source || !target || source->empty() || HasNul(*source)) {
    reader.Error("a mount is written { \"./source\", \"/target\", mode = \"ro\" }");
    return std::nullopt;
  }
  if (!IsInnerPath(*target) || Plain(*target) == "/") {
    reader.Error("the target '" + Printable(*target, 100) +
                 "' must be an absolute path below '/', without '.' or '..'");
    return std::nullopt;
  }
  return SandboxOptions::Mount{AbsolutePath(folder, *source), Plain(*target), mode == "rw",
                               is_template};
}

void ReadMounts(TableReader& reader, Loader& loader, SandboxOptions& options) {
  reader.ForEach("mounts", TableReader::Tables::kLists, [&](int index) {
    lua_State* lua = reader.lua();
    if (lua_type(lua, index) != LUA_TTABLE) {
      return reader.TypeError(
          "mounts", "a list of mounts, as in { { \"./work\", \"/work\", mode = \"rw\" } }", index);
    }
    TableReader mount_reader(reader, index, "mounts");
    auto mount = ReadMount(mount_reader, loader.folder);
    if (!mount) return;
    const auto same = [&mount](const auto& other) { return other.target == mount->target; };
    if (std::any_of(options.mounts.begin(), options.mounts.end(), same)) {
      return mount_reader.Error("two mounts at '" + mount->target + "'");
    }
    options.mounts.push_back(*std::move(mount));
  });
}

void ReadEnv(TableReader& reader, SandboxOptions& options) {
  reader.ForEachField("env", [&](const std::string& name, int index) {
    lua_State* lua = reader.lua();
    if (!IsVariableName(name)) {
      return reader.Error("'env': '" + Printable(name, 60) +
                          "' is not the name of a variable (letters, digits, '_')");
    }
    if (IsSecretHandle(lua, index)) {
      return reader.Error(
          "'env': the guest finds a secret's placeholder in the variable of the secret's own name; "
          "leave " +
          name + " out");
    }
    const auto value = ReadString(lua, index);
    if (!value || HasNul(*value)) return reader.TypeError("env", "{ NAME = \"value\" }", index);
    options.env.emplace_back(name, *value);
  });
}

void ReadMachine(TableReader& reader, SandboxOptions& options) {
  options.image = reader.String("image");
  if (const auto cpus = reader.Integer("cpus", 1, 1024))
    options.cpus = static_cast<unsigned>(*cpus);
  if (const auto memory = reader.String("memory")) {
    options.memory = ParseSize(*memory);
    if (!options.memory || *options.memory == 0) {
      reader.Error("'memory' must be a size like \"512MiB\" or \"2GiB\", not \"" +
                   Printable(*memory, 40) + "\"");
    }
  }
  if (const auto timeout = reader.String("timeout")) {
    options.timeout = ParseDuration(*timeout);
    if (!options.timeout || options.timeout->count() == 0) {
      reader.Error("'timeout' must be a duration like \"30s\", \"5m\" or \"1h\", not \"" +
                   Printable(*timeout, 40) + "\"");
    }
  }
  const auto isolation = reader.OneOf("isolation", {"vm", "namespace", "auto"});
  if (isolation && *isolation != "auto") options.isolation = isolation;
}

int DeclareSandbox(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (!FirstBlock(lua, loader, "sandbox")) return 0;
  TableReader reader(lua, 1, loader.diagnostics, "sandbox", CurrentLine(lua));
  reader.Expect({"image", "cpus", "memory", "workdir", "hostname", "isolation", "mounts", "env",
                 "timeout", "network", "rate", "connections", "bytes", "approvals"});
  SandboxOptions& options = loader.declared.sandbox;
  ReadMachine(reader, options);
  if (const auto workdir = reader.String("workdir")) {
    if (!IsInnerPath(*workdir)) reader.Error("'workdir' must be an absolute path without '..'");
    options.workdir = workdir;
  }
  if (const auto hostname = reader.String("hostname")) {
    const auto name = HostName::Parse(*hostname);
    if (!name || name->text() != *hostname || hostname->size() > 63) {
      reader.Error("'hostname' must be a name in lower case of at most 63 letters, digits and '-'");
    }
    options.hostname = hostname;
  }
  options.network = reader.Bool("network").value_or(true);
  options.budget = ReadBudget(reader, "sandbox");
  ReadApprovals(reader, loader);
  ReadMounts(reader, loader, options);
  ReadEnv(reader, options);
  return 0;
}

// Programs that redirect a host's traffic answer names with made-up addresses, and mostly stand in
// such a range themselves; the gate refuses what they answer.
void WarnOfFake(const Endpoint& resolver, TableReader& reader) {
  if (Classify(resolver.address) != AddressClass::kReserved) return;
  reader.diagnostics().Warning(
      reader.line(),
      "dns: the resolver " + resolver.address.ToString() +
          " has a reserved address, as of a program that answers names with made-up addresses; "
          "those are refused, so name the resolver behind it");
}

int DeclareDns(lua_State* lua) {
  Loader& loader = LoaderOf(lua);
  if (!FirstBlock(lua, loader, "dns")) return 0;
  TableReader reader(lua, 1, loader.diagnostics, "dns", CurrentLine(lua));
  reader.Expect({"resolvers", "families", "unlisted", "answers"});
  DnsOptions& options = loader.declared.dns;
  options.resolvers = ReadResolvers(reader);
  options.synthesize_v6 = reader.OneOf("families", {"v4", "both"}) == "both";
  if (reader.OneOf("unlisted", {"explain", "nxdomain"}) == "nxdomain")
    options.unlisted = DnsOptions::Unlisted::kNxdomain;
  if (reader.OneOf("answers", {"synthetic", "real"}) == "real")
    options.answers = DnsOptions::Answers::kReal;
  return 0;
}

}  // namespace

std::vector<Endpoint> ReadResolvers(TableReader& reader) {
  std::vector<Endpoint> resolvers;
  for (const std::string& text : reader.Strings("resolvers")) {
    const auto resolver = Endpoint::Parse(text, 53);
    if (!resolver) {
      reader.Error("'resolvers': '" + Printable(text, 60) +
                   "' is not an address, as in \"1.1.1.1\" or \"[2001:db8::1]:53\"");
      continue;
    }
    WarnOfFake(*resolver, reader);
    resolvers.push_back(*resolver);
  }
  if (resolvers.size() > kMaxResolvers) {
    reader.Error("'resolvers' has " + std::to_string(resolvers.size()) + " addresses, at most " +
                 std::to_string(kMaxResolvers) + " are asked");
  }
  return resolvers;
}

void DefineOptions(lua_State* lua) {
  lua_register(lua, "sandbox", &DeclareSandbox);
  lua_register(lua, "dns", &DeclareDns);
}

}  // namespace sallyport::policy
