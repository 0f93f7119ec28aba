#include "policy/budget_book.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace sallyport::policy {

struct Spending::Account {
  Account(RuleBudgetPtr its_budget, Clock::time_point now)
      : budget(std::move(its_budget)),
        tokens(budget->rate ? budget->rate->count : 0),
        filled(now) {}

  void Fill(Clock::time_point now) {
    if (!budget->rate || now <= filled) return;
    const std::chrono::duration<double> passed = now - filled;
    const std::chrono::duration<double> per = budget->rate->per;
    const double most = budget->rate->count;
    tokens = std::min(most, tokens + most * (passed / per));
    filled = now;
  }

  /// Until there is a whole token; for people, so at least a second.
  std::chrono::seconds Wait() const {
    const std::chrono::duration<double> per = budget->rate->per;
    const double seconds = (1 - tokens) * per.count() / budget->rate->count;
    return std::chrono::seconds(std::max<int64_t>(1, std::llround(std::ceil(seconds))));
  }

  std::optional<Refusal> Refuses() const {
    const RuleBudget& most = *budget;
    if (most.rate && tokens < 1) {
      const auto wait = Wait();
      return Refusal{
          .reason = Reason::kBudgetRate,
          .status = 429,
          .detail = "the rate of " + most.rule + " (" + std::to_string(most.rate->count) + " in " +
                    std::to_string(most.rate->per.count() / 1000) +
                    " s) is used up; try again in " + std::to_string(wait.count()) + " s",
          .rule = most.rule,
          .how_to_allow = {},
          .retry_after = wait};
    }
    if (most.connections && open >= *most.connections) {
      return Refusal{.reason = Reason::kBudgetConnections,
                     .status = 429,
                     .detail = "as many are open as " + most.rule + " allows at once (" +
                               std::to_string(*most.connections) +
                               "); try again when one has ended",
                     .rule = most.rule,
                     .how_to_allow = {},
                     .retry_after = std::chrono::seconds(1)};
    }
    return SpentBytes(1);
  }

  /// Whether NEXT more bytes would be too many.
  std::optional<Refusal> SpentBytes(uint64_t next) const {
    const auto spent = [this](const char* way, uint64_t bytes) {
      return Refusal{.reason = Reason::kBudgetBytes,
                     .status = 403,
                     .detail = "the " + std::to_string(bytes) + " bytes " + way + " that " +
                               budget->rule + " allows in this sandbox are used up",
                     .rule = budget->rule,
                     .how_to_allow = {}};
    };
    if (budget->bytes_up && up + next > *budget->bytes_up) return spent("up", *budget->bytes_up);
    if (budget->bytes_down && down + next > *budget->bytes_down) {
      return spent("down", *budget->bytes_down);
    }
    return std::nullopt;
  }

  const RuleBudgetPtr budget;
  double tokens;
  Clock::time_point filled;
  uint32_t open = 0;
  uint64_t up = 0;
  uint64_t down = 0;
};

Spending& Spending::operator=(Spending&& other) noexcept {
  if (this == &other) return *this;
  End();
  rule_ = std::move(other.rule_);
  sandbox_ = std::move(other.sandbox_);
  why_ = std::move(other.why_);
  return *this;
}

void Spending::End() {
  if (rule_) --rule_->open;
  if (sandbox_) --sandbox_->open;
  rule_.reset();
  sandbox_.reset();
}

bool Spending::Count(uint64_t up, uint64_t down) {
  for (Account* account : {rule_.get(), sandbox_.get()}) {
    if (account == nullptr) continue;
    account->up += up;
    account->down += down;
    if (!why_) why_ = account->SpentBytes(0);
  }
  return !why_;
}

std::optional<std::chrono::milliseconds> Spending::lifetime() const {
  if (rule_ == nullptr) return std::nullopt;
  return rule_->budget->lifetime;
}

void Spending::OnLifetimeOver() {
  if (why_ || rule_ == nullptr || !rule_->budget->lifetime) return;
  why_ = Refusal{.reason = Reason::kBudgetLifetime,
                 .status = 504,
                 .detail = "it lasted as long as " + rule_->budget->rule + " allows (" +
                           std::to_string(rule_->budget->lifetime->count() / 1000) + " s)",
                 .rule = rule_->budget->rule,
                 .how_to_allow = {}};
}

BudgetBook::BudgetBook(RuleBudgetPtr sandbox) : sandbox_budget_(std::move(sandbox)) {}

BudgetBook::AccountPtr BudgetBook::Of(const RuleBudgetPtr& budget, Clock::time_point now) {
  if (budget == nullptr) return nullptr;
  AccountPtr& account = accounts_[budget.get()];
  if (account == nullptr) account = std::make_shared<Spending::Account>(budget, now);
  account->Fill(now);
  return account;
}

BudgetBook::Opened BudgetBook::Open(const RuleBudgetPtr& budget, Clock::time_point now) {
  Opened opened;
  AccountPtr rule = Of(budget, now);
  AccountPtr sandbox = Of(sandbox_budget_, now);
  for (const auto* account : {rule.get(), sandbox.get()}) {
    if (account != nullptr && !opened.refusal) opened.refusal = account->Refuses();
  }
  if (opened.refusal) return opened;
  for (auto* account : {rule.get(), sandbox.get()}) {
    if (account == nullptr) continue;
    ++account->open;
    if (account->budget->rate) account->tokens -= 1;
  }
  opened.spending.rule_ = std::move(rule);
  opened.spending.sandbox_ = std::move(sandbox);
  return opened;
}

BudgetBook::Opened OpenUse(BudgetBook* book, const RuleBudgetPtr& budget, Clock::time_point now) {
  if (book != nullptr) return book->Open(budget, now);
  BudgetBook::Opened opened;
  if (budget == nullptr) return opened;
  opened.refusal = Refusal{.reason = Reason::kPolicyError,
                           .detail = "nobody counts the budget of " + budget->rule,
                           .rule = budget->rule,
                           .how_to_allow = {}};
  return opened;
}

std::optional<Refusal> BudgetBook::Take(const RuleBudgetPtr& budget, Clock::time_point now) {
  const AccountPtr account = Of(budget, now);
  if (account == nullptr) return std::nullopt;
  if (auto refusal = account->Refuses()) return refusal;
  if (account->budget->rate) account->tokens -= 1;
  return std::nullopt;
}

}  // namespace sallyport::policy
