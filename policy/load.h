#pragma once

#include <memory>

#include "policy/declarations.h"
#include "policy/engine.h"
#include "policy/lua_state.h"
#include "policy/script_host.h"

namespace sallyport::policy {

/// A file that ran without an error: the state with its callbacks, and what it declared.
struct LoadedScript {
  std::shared_ptr<LuaState> state;
  std::unique_ptr<ScriptHost> host;
  Declarations declared;
  bool learns = false;  ///< Engine::Uncovered::kLearnt.

  /// Another policy took its place, or its sandbox is over: what still waits for it is denied.
  bool replaced() const { return state->owner == nullptr; }
};
inline constexpr char kReplaced[] = "the policy was replaced while its decision waited";

/// Longer files are refused unread.
inline constexpr size_t kMaxPolicyText = size_t{1} << 20;

/// Runs SOURCE under BUDGET and checks what it declares. Null, with what is wrong in DIAGNOSTICS,
/// when there is an error; warnings may be there in both cases.
std::unique_ptr<LoadedScript> LoadScript(const Engine::Source& source, const Budget& budget,
                                         std::vector<Diagnostic>& diagnostics);

/// Engine::Load with another budget: for tests, and for fuzzing, where endless loops are common.
Engine::Loaded LoadWithBudget(const Engine::Source& source, const Budget& budget,
                              Engine::Uncovered uncovered = Engine::Uncovered::kDenied);

}  // namespace sallyport::policy
