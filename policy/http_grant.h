#pragma once

#include <memory>
#include <utility>

#include "policy/lua_state.h"
#include "policy/rule.h"
#include "policy/rule_numbers.h"

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
    std::swap(by, other.by);
    std::swap(by_callback, other.by_callback);
    std::swap(function, other.function);
    std::swap(learns, other.learns);
    std::swap(filters_differ, other.filters_differ);
    std::swap(state_, other.state_);
  }

  /// What on.connect accepted; asked after `rules`. Null where it was not asked.
  const Rule* accepted() const { return by_callback ? by.get() : nullptr; }

  RuleNumbers rules;
  std::shared_ptr<const Rule> by;  ///< As the flow's verdict has it; its `to` is the flow's.
  bool by_callback = false;
  int function = LUA_NOREF;  ///< Given to accept.
  bool learns = false;  ///< Requests that nothing covers are granted, and marked.
  /// Rules that grant say different things of its addresses, so each request has its own rule's.
  bool filters_differ = false;

 private:
  std::shared_ptr<LuaState> state_;
};

}  // namespace sallyport::policy
