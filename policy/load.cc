#include "policy/load.h"

#include <algorithm>

#include "policy/dangling_check.h"
#include "policy/passthrough_check.h"
#include "policy/rule_check.h"

namespace sallyport::policy {
namespace {

// TEXT without what editors and shells put before a program: a byte order mark, a "#!" line.
std::string_view WithoutPreamble(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.starts_with("#!")) text.remove_prefix(std::min(text.find('\n'), text.size()));
  return text;  // The end of that line stays, for the numbers of the others.
}

void RunFile(lua_State* lua, std::string_view text) {
  OpenSafeLibraries(lua);
  DefineRules(lua);
  DefineOptions(lua);
  DefineUpstream(lua);
  DefineSecrets(lua);
  DefineSources(lua);
  DefineHooks(lua);
  DefineLog(lua);
  DefineWaits(lua);
  DefineStore(lua);
  DefinePresets(lua);
  GuardGlobals(lua);
  LuaState::Of(lua).Charge(static_cast<int64_t>(text.size()));
  // Text only: compiled chunks can break the machine that runs them.
  if (luaL_loadbufferx(lua, text.data(), text.size(), kChunkName, "t") != LUA_OK) lua_error(lua);
  CheckGlobalNames(lua, text.size());
  lua_call(lua, 0, 0);
}

void ReportFailure(const ScriptError& error, Loader& loader) {
  int line = error.line;
  std::string message = WithoutPlace(error.message, line);
  if (error.budget) message += " while the file was loading";
  loader.diagnostics.Error(line, Printable(message, 500));
}

// Of two values for one variable the guest would get either.
void CheckVariables(Loader& loader) {
  for (const SecretSpec& secret : loader.declared.secrets) {
    for (const auto& [name, value] : loader.declared.sandbox.env) {
      if (!secret.expose || name != secret.name) continue;
      loader.diagnostics.Error(
          loader.secret_lines[name],
          "secret \"" + name + "\" is given to the guest as the variable " + name +
              ", which sandbox { env } sets too; remove it there, or write expose = false");
    }
  }
}

void CheckDeclarations(Loader& loader) {
  for (const auto& [name, line] : loader.pending_secrets) {
    loader.diagnostics.Error(line, "secret \"" + name + "\" without its table: write secret \"" +
                                       name + "\" { from = env \"" + name +
                                       "\", hosts = { \"api.example.com\" } }");
  }
  for (const auto& [host, line] : loader.pending_upstreams) {
    loader.diagnostics.Error(line, "upstream \"" + host +
                                       "\" without its table: write upstream \"" + host +
                                       "\" { ca = \"corp.pem\" }");
  }
  std::vector<HostPattern> hooked;
  for (const auto* hooks : {&loader.declared.on_request, &loader.declared.on_response}) {
    for (const Hook& hook : *hooks) {
      if (hook.host && !hook.host->is_any()) hooked.push_back(*hook.host);
    }
  }
  CheckRules(loader.declared.rules, loader.declared.secrets, hooked, loader.diagnostics);
  CheckPassthrough(loader.declared, loader.diagnostics);
  CheckVariables(loader);
  CheckDangling(loader);
}

}  // namespace

std::unique_ptr<LoadedScript> LoadScript(const Engine::Source& source, const Budget& budget,
                                         std::vector<Diagnostic>& diagnostics) {
  const std::string_view text = WithoutPreamble(source.text);
  Loader loader(source.name, source.folder, text);
  auto loaded = std::make_unique<LoadedScript>();
  loaded->host = std::make_unique<ScriptHost>();
  loaded->host->file = source.name;
  loaded->host->loader = &loader;
  loaded->state = std::make_shared<LuaState>();
  loaded->state->owner = loaded->host.get();
  if (source.text.size() > kMaxPolicyText) {
    loader.diagnostics.Error(0, "the file is longer than 1 MiB");
  } else {
    ScriptError error;
    const bool ran =
        loaded->state->Run(budget, error, [text](lua_State* lua) { RunFile(lua, text); });
    if (!ran) ReportFailure(error, loader);
    // A file that stopped half-way would only show the shadow of what is missing.
    if (ran) CheckDeclarations(loader);
  }
  const bool failed = loader.diagnostics.has_errors();
  diagnostics = loader.diagnostics.Take();
  loaded->host->loader = nullptr;
  loaded->declared = std::move(loader.declared);
  if (failed) {
    loaded->state->owner = nullptr;
    return nullptr;
  }
  loaded->state->Settle();
  return loaded;
}

}  // namespace sallyport::policy
