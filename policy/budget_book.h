#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/loop.h"
#include "base/reason.h"
#include "policy/rule_budget.h"

namespace sallyport::policy {

class BudgetBook;

/// One use under way: what it carries is taken from its rule's budget and from the sandbox's.
/// Destroying it ends the use.
class Spending {
 public:
  /// Of nobody's budget.
  Spending() = default;
  Spending(Spending&&) = default;
  Spending& operator=(Spending&& other) noexcept;
  ~Spending() { End(); }

  /// Takes bytes off. False when there are no more: why() is set, and the use is to end. What made
  /// it so has been carried already.
  bool Count(uint64_t up, uint64_t down);
  /// How long it may last.
  std::optional<std::chrono::milliseconds> lifetime() const;
  /// Says that it lasted that long: why() is set.
  void OnLifetimeOver();

  /// Why it is to end.
  const std::optional<Refusal>& why() const { return why_; }
  /// Whether anything is counted at all.
  bool counts() const { return rule_ != nullptr || sandbox_ != nullptr; }

 private:
  friend class BudgetBook;
  struct Account;
  void End();

  std::shared_ptr<Account> rule_;
  std::shared_ptr<Account> sandbox_;
  std::optional<Refusal> why_;
};

/// What was spent of the budgets of one sandbox's policy. No I/O; time is passed in. A decision
/// allocates nothing but at the first use of each rule.
class BudgetBook {
 public:
  /// SANDBOX is what all uses together may spend; may be null.
  explicit BudgetBook(RuleBudgetPtr sandbox);

  /// Begins a use under BUDGET (may be null) at NOW. What it is refused for costs nothing.
  struct Opened {
    Spending spending;
    std::optional<Refusal> refusal;  ///< With 429 and retry_after where waiting helps.
  };
  Opened Open(const RuleBudgetPtr& budget, Clock::time_point now);

  /// A use that is over at once and that only rates count: a query. Nothing when it may go on.
  std::optional<Refusal> Take(const RuleBudgetPtr& budget, Clock::time_point now);

 private:
  using AccountPtr = std::shared_ptr<Spending::Account>;
  AccountPtr Of(const RuleBudgetPtr& budget, Clock::time_point now);

  RuleBudgetPtr sandbox_budget_;
  // An account holds its budget, so that no other can have its address.
  std::unordered_map<const RuleBudget*, AccountPtr> accounts_;
};

/// BOOK->Open(); without a BOOK nothing with a budget is granted.
BudgetBook::Opened OpenUse(BudgetBook* book, const RuleBudgetPtr& budget, Clock::time_point now);

}  // namespace sallyport::policy
