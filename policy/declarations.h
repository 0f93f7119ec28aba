#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/diagnostics.h"
#include "policy/engine.h"
#include "policy/lua_state.h"
#include "policy/rule_set.h"
#include "policy/table_reader.h"

namespace sallyport::policy {

/// A function given to on.connect, on.request or on.response.
struct Hook {
  std::optional<HostPattern> host;  ///< Nothing: every host.
  int reference = 0;                ///< Of the function, in the registry.
  std::string id;                   ///< "policy.lua:12".

  bool SpeaksOf(const std::optional<HostName>& name) const {
    return !host || (name && host->Matches(*name));
  }
};

/// All that a policy file declares.
struct Declarations {
  RuleSet rules;
  SandboxOptions sandbox;
  DnsOptions dns;
  UpstreamOptions upstream;
  std::vector<SecretSpec> secrets;
  std::vector<Hook> on_connect;
  std::vector<Hook> on_request;
  std::vector<Hook> on_response;
};

/// What a file is loaded into. The functions that the file calls find it through ScriptHost.
struct Loader {
  /// TEXT is the file's, and outlives this.
  Loader(std::string file, std::string folder_path, std::string_view text = {})
      : diagnostics(std::move(file), text), folder(std::move(folder_path)) {}

  Diagnostics diagnostics;
  std::string folder;
  Declarations declared;
  std::map<std::string, int> secret_lines;     ///< `secret "X"` seen at this line.
  std::map<std::string, int> pending_secrets;  ///< Not yet followed by its table.
  std::map<std::string, int> pending_upstreams;  ///< `upstream "HOST"` without its table so far.
  std::map<std::string, int> block_lines;      ///< Blocks that may stand once ("sandbox").
  std::vector<SecretSource> sources;            ///< Of secrets; values in the script hold their place.
  std::map<std::string_view, int> used_presets;  ///< `use "X"` seen at this line.
  std::vector<std::string_view> presets;  ///< Those that are running now, the innermost last.
  std::set<std::pair<int, std::string>> told_names;  ///< Undeclared names, told for this line.
  size_t patterns = 0;                         ///< Host patterns and prefixes so far.
};

/// Rules beyond this are a generated file gone wrong. A rule takes about a kilobyte, a pattern a
/// tenth of that in the indexes: 25 MiB at most.
inline constexpr size_t kMaxRules = 16384;
inline constexpr size_t kMaxPatterns = 65536;
inline constexpr size_t kMaxHooks = 256;

/// The loader of the file that is running. Raises in a callback: declarations belong to the file.
Loader& LoaderOf(lua_State* lua);

/// Define the global names of the language. Inside LuaState::Run.
void DefineRules(lua_State* lua);    ///< allow, deny, ask.
void DefineOptions(lua_State* lua);  ///< sandbox, dns.
void DefineUpstream(lua_State* lua);
void DefineSecrets(lua_State* lua);  ///< secret.
void DefineSources(lua_State* lua);  ///< env, file, command, oauth2, github_app.
void DefineHooks(lua_State* lua);    ///< on.
void DefineLog(lua_State* lua);
void DefineWaits(lua_State* lua);    ///< sleep.
void DefineStore(lua_State* lua);
void DefinePresets(lua_State* lua);  ///< use.

/// Takes all global names and the tables behind them out of the script's reach, but for reading:
/// what it assigns to one is an error that says how it is used, and so is a name that nobody
/// declared, with the nearest one. After all names are defined.
void GuardGlobals(lua_State* lua);
/// Reports the global names in the chunk on top of the stack, wherever they stand in it, that nobody
/// declared or that it assigns. It was compiled of SOURCE_SIZE bytes, which only makes it faster.
/// Raises where no file is being loaded (tests of policies).
void CheckGlobalNames(lua_State* lua, size_t source_size);

/// A host as users write it in a rule, a hook or a secret. Nothing and a diagnostic for what is
/// none; `any` only where ANY_IS_HOST.
enum class AnyIs { kHost, kMistake };
std::optional<HostPattern> ReadHost(TableReader& reader, const char* field, int index, AnyIs any);
/// Why TEXT is no host pattern, with what to write instead.
std::string ExplainBadHost(const std::string& text);

/// A rule's table, as `allow.http` and its like take it. Only to be used if no error was reported.
Rule ReadRule(TableReader& reader, Rule::Kind kind, Rule::Effect effect);
/// Its fields that say where a flow goes and what its addresses may be.
void ReadResolvesTo(TableReader& reader, Rule& rule);
void ReadTo(TableReader& reader, Rule& rule);
void ReadTypes(TableReader& reader, Rule& rule);

/// The addresses in `resolvers`, kMaxResolvers at most.
inline constexpr size_t kMaxResolvers = 8;  ///< Each is waited for in its turn.
std::vector<Endpoint> ReadResolvers(TableReader& reader);

/// The source that FIELD names. Nothing when it is missing, or after a diagnostic.
std::optional<SecretSource> ReadSource(TableReader& reader, const char* field);
/// Whether a source stands in FIELD, whatever kind it is.
bool IsSource(TableReader& reader, const char* field);
/// `proxy` and `no_proxy` of `upstream`.
void ReadProxy(TableReader& reader, Loader& loader);
/// `approvals` of `sandbox`.
void ReadApprovals(TableReader& sandbox, Loader& loader);
/// TEXT, which stands in FIELD, as the URL of a server that gets credentials or decides: https, or
/// this host. Nothing after a diagnostic. PRIVATE_NETWORK: this host may be meant.
std::optional<HttpUrl> ReadServerUrl(TableReader& reader, const char* field,
                                     const std::string& text, bool private_network);
/// Whether NAME can name a secret, or a variable.
bool IsSecretName(std::string_view name);

/// `rate`, `connections`, `bytes` and `lifetime` of RULE; null without any of them.
RuleBudgetPtr ReadBudget(TableReader& reader, const std::string& rule);

/// "512B", "64KiB", "10MiB", "2GiB".
std::optional<uint64_t> ParseSize(std::string_view text);
/// "500ms", "30s", "5m" or "1h", up to a year.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);

/// Reads "methods", "paths" and the like.
std::vector<std::string> ReadMethods(TableReader& reader, const char* field);
std::vector<PathGlob> ReadPaths(TableReader& reader, const char* field);
std::optional<uint16_t> ReadPort(lua_State* lua, int index);
/// What a rule's `ip` or `resolves_to` names, added to FILTER.
void ReadAddresses(TableReader& reader, const char* field, AddressFilter& filter);

/// PATH, absolute and normalised; a relative one starts at FOLDER.
std::string AbsolutePath(const std::string& folder, const std::string& path);

}  // namespace sallyport::policy
