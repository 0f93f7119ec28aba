#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/lua_state.h"
#include "policy/rule.h"

namespace sallyport::policy {

/// Which requests a flow may carry: the rules that speak of it, in order, and what on.connect
/// accepted besides. Keeps the script's state alive for the function in it.
class HttpGrant {
 public:
  explicit HttpGrant(std::shared_ptr<LuaState> state) : state_(std::move(state)) {}
  ~HttpGrant() {
    if (function != LUA_NOREF) state_->Unref(function);
  }
  HttpGrant(const HttpGrant&) = delete;
  HttpGrant& operator=(const HttpGrant&) = delete;

  /// Whether it was made by the policy of STATE; the numbers in `rules` are that policy's.
  bool BelongsTo(const std::shared_ptr<LuaState>& state) const { return state_ == state; }
  /// Becomes what OTHER is; OTHER becomes what this was.
  void Swap(HttpGrant& other) {
    std::swap(rules, other.rules);
    std::swap(accepted, other.accepted);
    std::swap(function, other.function);
    std::swap(target, other.target);
    std::swap(learns, other.learns);
    std::swap(filters_differ, other.filters_differ);
    std::swap(state_, other.state_);
  }

  std::vector<uint32_t> rules;
  std::unique_ptr<Rule> accepted;   ///< By on.connect; asked after `rules`. Null where it was not asked.
  int function = LUA_NOREF;         ///< Given to accept.
  std::optional<Authority> target;  ///< The flow's `to`.
  bool learns = false;  ///< Requests that nothing covers are granted, and marked.
  /// Rules that grant say different things of its addresses, so each request has its own rule's.
  bool filters_differ = false;

 private:
  std::shared_ptr<LuaState> state_;
};

}  // namespace sallyport::policy
