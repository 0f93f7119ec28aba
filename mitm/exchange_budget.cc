#include "mitm/exchange.h"

// What an exchange takes from the budget of the rule that grants it (`rate`, `connections`,
// `bytes`, `lifetime`). Begun, it ends as it would if its server failed: refused while nothing was
// answered, else cut off. The record says why.

namespace sallyport::mitm {

/// Begins the use; false when it was refused.
bool Exchange::OpenBudget(const policy::RuleBudgetPtr& budget) {
  Gate& gate = flow_.gate();
  auto opened = policy::OpenUse(gate.budgets, budget, gate.loop.now());
  if (opened.refusal) {
    Refuse(*opened.refusal);
    return false;
  }
  spending_ = std::move(opened.spending);
  if (const auto lifetime = spending_.lifetime()) {
    lifetime_ = gate.loop.After(*lifetime, [this] {
      spending_.OnLifetimeOver();
      EndSpent();
    });
  }
  // The head: a way out as good as a body.
  if (spending_.Count(record_.bytes_up, 0)) return true;
  Refuse(*spending_.why());
  return false;
}

/// Takes bytes off; false when the exchange is about to end.
bool Exchange::Spend(uint64_t up, uint64_t down) {
  if (spending_.Count(up, down)) return true;
  // Later: the caller is in the middle of what it does with both sides.
  if (!spent_) spent_ = flow_.gate().loop.Post([this] { EndSpent(); });
  return false;
}

void Exchange::EndSpent() {
  OnSpent();
  guest_.Resume();  // May destroy this.
}

void Exchange::OnSpent() {
  const Refusal why = *spending_.why();
  switch (step_) {
    case Step::kFinished:
      return;
    case Step::kSwitched:
      relay_->Close(1008);  // Policy violation: RFC 6455, 7.4.1.
      return EndSwitched(why.reason, why.detail);
    case Step::kAnswering:
      return CutOff(why.reason, why.detail);
    case Step::kNew:
    case Step::kWaiting:
    case Step::kGathering:
    case Step::kTokenCall:
    case Step::kConnecting:
    case Step::kRelaying:
    case Step::kRenewing:
      break;
  }
  renewing_ = {};
  waiting_ = {};  // For what a callback wanted to know of the answer.
  suspended_response_.reset();
  if (head_sent_) return CutOff(why.reason, why.detail);
  Refuse(why);
}

}  // namespace sallyport::mitm
