#pragma once

#include <cstdint>
#include <memory>

#include "base/stream.h"
#include "mitm/deadline.h"

namespace sallyport::mitm {

/// Copies bytes between two streams, unread, in both directions: until both have ended, one has
/// failed, or neither has carried a byte for kRelayIdleTimeout. An end is passed on as an end, so
/// one direction may go on after the other; a failure as a failure. What a side does not take yet
/// is left unread on the other: nothing but one block, for the length of a call, is held here.
class Relay final : private Stream::Listener {
 public:
  class Owner {
   public:
    /// The relay is over, its streams are done with; destroys it.
    virtual void OnRelayOver() = 0;

   protected:
    ~Owner() = default;
  };

  Relay(Loop& loop, std::unique_ptr<Stream> guest, std::unique_ptr<Stream> server, Owner& owner);
  ~Relay();

  /// Begins. Calls back from the loop only.
  void Start();

  uint64_t bytes_up() const { return up_.bytes; }      ///< From the guest.
  uint64_t bytes_down() const { return down_.bytes; }  ///< To the guest.
  bool broken() const { return broken_; }

 private:
  struct Direction {
    uint64_t bytes = 0;
    bool ended = false;
  };

  void OnStreamReady() override;
  bool Copy(Stream& from, Stream& to, Direction& direction);
  void Abort();

  Owner& owner_;
  Loop& loop_;
  std::unique_ptr<Stream> guest_;
  std::unique_ptr<Stream> server_;
  Direction up_;
  Direction down_;
  bool broken_ = false;
  Deadline idle_;
  Loop::Handle again_;
};

}  // namespace sallyport::mitm
