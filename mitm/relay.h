#pragma once

#include <cstdint>
#include <memory>

#include "base/stream.h"
#include "mitm/deadline.h"
#include "policy/budget_book.h"

namespace sallyport::mitm {

/// Copies bytes between two streams, unread, in both directions: until both have ended, one has
/// failed, or neither has carried a byte for too long. An end is passed on as an end, so one
/// direction may go on after the other; a failure as a failure. What a side does not take yet is
/// left unread on the other: nothing but one block, for the length of a call, is held here.
class Relay final : private Stream::Listener {
 public:
  class Owner {
   public:
    /// The relay is over, its streams are done with; destroys it.
    virtual void OnRelayOver() = 0;

   protected:
    ~Owner() = default;
  };

  /// How long nothing may pass: while both directions are open, and once one has ended.
  struct Patience {
    Clock::duration open;
    Clock::duration half_closed;
  };
  enum class Outcome { kEnded, kBroken, kIdle, kSpent };

  /// SPENDING ends it, too (kSpent), when its bytes or its lifetime are over.
  Relay(Loop& loop, std::unique_ptr<Stream> guest, std::unique_ptr<Stream> server,
        Patience patience, policy::Spending spending, Owner& owner);
  ~Relay();

  /// Begins. Calls back from the loop only.
  void Start();

  uint64_t bytes_up() const { return up_.bytes; }      ///< From the guest.
  uint64_t bytes_down() const { return down_.bytes; }  ///< To the guest.
  /// Why it is over.
  Outcome outcome() const { return outcome_; }
  /// For kSpent: what was.
  const std::optional<Refusal>& spent() const { return spending_.why(); }

 private:
  struct Direction {
    uint64_t bytes = 0;
    bool ended = false;
  };

  void OnStreamReady() override;
  bool Copy(Stream& from, Stream& to, Direction& direction);
  void Wait();
  void Abort(Outcome outcome);

  Owner& owner_;
  Loop& loop_;
  const Patience patience_;
  std::unique_ptr<Stream> guest_;
  std::unique_ptr<Stream> server_;
  Direction up_;
  Direction down_;
  Outcome outcome_ = Outcome::kEnded;
  policy::Spending spending_;
  Deadline lifetime_;
  Deadline idle_;
  Loop::Handle again_;
};

}  // namespace sallyport::mitm
