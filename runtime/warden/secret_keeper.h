#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "runtime/broker/messages.h"
#include "secrets/store.h"

namespace sallyport::runtime {

/// Keeps the values of secrets fresh while the sandbox runs: asks for a new one before the old one
/// ends, and when a server refused it (401). A failed refresh leaves the old value in use until it
/// ends; from then on the secret is unavailable, with the reason, until a refresh works again.
class SecretKeeper {
 public:
  /// Asks the broker for the value of a secret; the answer comes to OnAnswer(). Called only when
  /// none is on its way for this secret.
  using Ask = std::function<void(uint16_t secret)>;

  /// Both outlive it.
  SecretKeeper(Loop& loop, secrets::Store& store, Ask ask);

  /// SECRET, called NAME in the store, has a value of LIFETIME from now. RENEWABLE: asking again
  /// can give another one.
  enum class Renewable { kNo, kYes };
  void Add(uint16_t secret, std::string name, std::optional<std::chrono::milliseconds> lifetime,
           Renewable renewable);

  void OnAnswer(BrokerAnswer answer);

  /// The user has revoked NAME, or given it a value by hand: its source is not asked any more, and
  /// an answer on its way changes nothing.
  void Forget(std::string_view name);

  /// A server answered 401 to a request with the secrets NAMES: those that can be renewed are, but
  /// none more often than every kLeastBetween, as a 401 is also what a request without rights may
  /// get. DONE(true) when at least one got another value; within kRenewDeadline, and never inside
  /// this call.
  Pending Renew(const std::vector<std::string>& names, std::function<void(bool)> done);

  /// How long the value of NAME is still good, 0 when it has ended; nothing where no end is known.
  std::optional<std::chrono::milliseconds> Remaining(std::string_view name) const;

  static constexpr std::chrono::seconds kLeastBetween{30};
  static constexpr std::chrono::seconds kRenewDeadline{15};

 private:
  struct Kept {
    uint16_t secret;
    std::string name;
    bool renewable = false;
    bool asked = false;                        ///< An answer is on its way.
    int failures = 0;                          ///< In a row.
    std::optional<Clock::time_point> ends;     ///< Of the value in use.
    std::optional<Clock::time_point> renewed;  ///< When a 401 last made us ask.
    std::string why;                           ///< The latest failure.
    Loop::Handle refresh;
    Loop::Handle end;
  };
  /// Somebody who waits in Renew().
  struct Waiter {
    uint64_t id;
    std::vector<uint16_t> open;  ///< Secrets whose answers are not there yet.
    bool renewed = false;
    std::function<void(bool)> done;
    Loop::Handle later;
  };

  Kept* Find(uint16_t secret);
  void AskFor(Kept& kept);
  void TakeValue(Kept& kept, BrokerAnswer& answer);
  void TakeFailure(Kept& kept, std::string why);
  void Schedule(Kept& kept, std::optional<std::chrono::milliseconds> lifetime);
  void OnEnd(Kept& kept);
  void Tell(uint16_t secret, bool renewed);
  void Settle(uint64_t waiter);

  Loop& loop_;
  secrets::Store& store_;
  const Ask ask_;
  std::list<Kept> kept_;  // Where they are, they stay: timers hold on to them.
  std::list<Waiter> waiters_;
  uint64_t next_waiter_ = 1;
};

}  // namespace sallyport::runtime
