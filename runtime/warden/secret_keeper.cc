// One secret's life:
//
//     fresh --(its lifetime less a margin)--> asked --value--> fresh
//                                               |
//                                            failure --(back-off)--> asked …
//     whatever it is in, at the end of its value: unavailable, until a value comes
//
// The margin is a fifth of the lifetime, at most kMostMargin: room for the clocks of two hosts, for
// requests under way, and for a few tries. Tries that fail come kFirstRetry apart, then twice that,
// up to kMostRetry.

#include "runtime/warden/secret_keeper.h"

#include <algorithm>
#include <utility>

namespace sallyport::runtime {

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr milliseconds kMostMargin = 5min;
constexpr milliseconds kFirstRetry = 1s;
constexpr milliseconds kMostRetry = 60s;

milliseconds RetryAfter(int failures) {
  milliseconds delay = kFirstRetry;
  for (int i = 1; i < failures && delay < kMostRetry; ++i) delay *= 2;
  return std::min(delay, kMostRetry);
}

}  // namespace

SecretKeeper::SecretKeeper(Loop& loop, secrets::Store& store, Ask ask)
    : loop_(loop), store_(store), ask_(std::move(ask)) {}

void SecretKeeper::Add(uint16_t secret, std::string name, std::optional<milliseconds> lifetime,
                       Renewable renewable) {
  Kept& kept = kept_.emplace_back();
  kept.secret = secret;
  kept.name = std::move(name);
  kept.renewable = renewable == Renewable::kYes;
  Schedule(kept, lifetime);
}

SecretKeeper::Kept* SecretKeeper::Find(uint16_t secret) {
  const auto found = std::find_if(kept_.begin(), kept_.end(),
                                  [&](const Kept& kept) { return kept.secret == secret; });
  return found == kept_.end() ? nullptr : &*found;
}

void SecretKeeper::AskFor(Kept& kept) {
  if (std::exchange(kept.asked, true)) return;
  kept.refresh = {};
  ask_(kept.secret);
}

void SecretKeeper::OnAnswer(BrokerAnswer answer) {
  Kept* kept = Find(answer.secret);
  if (kept == nullptr || !std::exchange(kept->asked, false)) return;
  if (answer.kind == BrokerAnswer::Kind::kValue) {
    TakeValue(*kept, answer);
  } else {
    TakeFailure(*kept, answer.bytes.text);
  }
}

void SecretKeeper::Forget(std::string_view name) {
  for (const Kept& kept : kept_) {
    if (kept.name == name) Tell(kept.secret, false);
  }
  kept_.remove_if([name](const Kept& kept) { return kept.name == name; });
}

void SecretKeeper::TakeValue(Kept& kept, BrokerAnswer& answer) {
  auto value = secrets::Secret::Create(answer.bytes.text);
  auto rotated =
      value ? store_.Rotate(kept.name, *std::move(value)) : Status(tl::unexpected(value.error()));
  if (!rotated) return TakeFailure(kept, rotated.error().message());
  kept.failures = 0;
  Schedule(kept, answer.lifetime);
  Tell(kept.secret, true);
}

void SecretKeeper::TakeFailure(Kept& kept, std::string why) {
  kept.why = std::move(why);
  ++kept.failures;
  if (kept.ends) {
    kept.refresh = loop_.After(RetryAfter(kept.failures), [this, &kept] { AskFor(kept); });
    if (*kept.ends <= Clock::now()) OnEnd(kept);  // Again: with the latest reason.
  }
  Tell(kept.secret, false);
}

void SecretKeeper::Schedule(Kept& kept, std::optional<milliseconds> lifetime) {
  kept.refresh = {};
  kept.end = {};
  kept.ends.reset();
  if (!lifetime) return;
  kept.ends = Clock::now() + *lifetime;
  const milliseconds margin = std::min(*lifetime / 5, kMostMargin);
  kept.refresh = loop_.After(*lifetime - margin, [this, &kept] { AskFor(kept); });
  kept.end = loop_.After(*lifetime, [this, &kept] { OnEnd(kept); });
}

void SecretKeeper::OnEnd(Kept& kept) {
  const std::string why = kept.why.empty() ? "no new value has come" : kept.why;
  (void)store_.MakeUnavailable(kept.name, "its value has expired, and " + why);
}

Pending SecretKeeper::Renew(const std::vector<std::string>& names, std::function<void(bool)> done) {
  const uint64_t id = next_waiter_++;
  Waiter waiter{.id = id, .open = {}, .renewed = false, .done = std::move(done), .later = {}};
  for (Kept& kept : kept_) {
    if (!kept.renewable || std::find(names.begin(), names.end(), kept.name) == names.end())
      continue;
    const bool recent = kept.renewed && loop_.now() - *kept.renewed < kLeastBetween;
    if (recent && !kept.asked) continue;
    if (!recent) kept.renewed = loop_.now();
    waiter.open.push_back(kept.secret);
    AskFor(kept);
  }
  const auto delay = waiter.open.empty() ? Clock::duration(0) : Clock::duration(kRenewDeadline);
  waiter.later = loop_.After(delay, [this, id] { Settle(id); });
  waiters_.push_back(std::move(waiter));
  return Pending(
      [this, id] { waiters_.remove_if([id](const Waiter& other) { return other.id == id; }); });
}

std::optional<milliseconds> SecretKeeper::Remaining(std::string_view name) const {
  for (const Kept& kept : kept_) {
    if (kept.name != name || !kept.ends) continue;
    const auto left = std::chrono::duration_cast<milliseconds>(*kept.ends - Clock::now());
    return std::max(left, milliseconds(0));
  }
  return std::nullopt;
}

/// The answer for SECRET is there: whoever waits for it and nothing else hears so, later.
void SecretKeeper::Tell(uint16_t secret, bool renewed) {
  for (Waiter& waiter : waiters_) {
    if (std::erase(waiter.open, secret) == 0) continue;
    waiter.renewed |= renewed;
    if (!waiter.open.empty()) continue;
    waiter.later = loop_.Post([this, id = waiter.id] { Settle(id); });
  }
}

void SecretKeeper::Settle(uint64_t waiter) {
  const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                  [&](const Waiter& w) { return w.id == waiter; });
  if (found == waiters_.end()) return;
  const auto done = std::move(found->done);
  const bool renewed = found->renewed;
  waiters_.erase(found);
  if (done) done(renewed);
}

}  // namespace sallyport::runtime
