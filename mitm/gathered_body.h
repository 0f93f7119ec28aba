#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "mitm/message.h"

namespace sallyport::mitm {

/// A request's body, of which a callback of the policy may see the beginning, or give another: what was
/// read for it is kept, and read again when it is sent.
class GatheredBody {
 public:
  enum class State {
    kWaiting,  ///< SOURCE has no more for now.
    kWorking,  ///< Likewise, but it should be asked again without waiting for anything.
    kAll,      ///< held() is the body.
    kLonger,   ///< It has more than MAX bytes.
    kFailed,   ///< failure() says how SOURCE failed.
  };
  /// Reads from SOURCE(max) until MAX bytes are here, or all.
  template <class Source>
  State Gather(Source&& source, size_t max) {
    while (!complete_ && held_.size() <= max) {
      const MessageEvent event = source(max + 1 - held_.size());
      switch (event.kind) {
        case MessageEvent::Kind::kEnd:
          complete_ = true;
          break;
        case MessageEvent::Kind::kBody:
          if (event.piece.empty()) return State::kWorking;
          held_ += event.piece;
          break;
        case MessageEvent::Kind::kWouldBlock:
          return State::kWaiting;
        case MessageEvent::Kind::kHead:
        case MessageEvent::Kind::kError:
        case MessageEvent::Kind::kBroken:
          failure_ = event.kind;
          return State::kFailed;
      }
    }
    return complete_ && held_.size() <= max ? State::kAll : State::kLonger;
  }
  MessageEvent::Kind failure() const { return failure_; }
  const std::string& held() const { return held_; }
  /// Whether held() is all of it.
  bool complete() const { return complete_; }

  /// Sends BYTES instead of all that there is, and of what is still to come.
  void Replace(std::string bytes) {
    held_ = std::move(bytes);
    complete_ = replaced_ = true;
  }
  bool replaced() const { return replaced_; }

  /// The next of the body, what is held first: as GuestSide::ReadBody().
  template <class Source>
  MessageEvent Read(Source&& source, size_t max) {
    if (sent_ < held_.size()) {
      const std::string_view piece = std::string_view(held_).substr(sent_, max);
      sent_ += piece.size();
      return {MessageEvent::Kind::kBody, piece};
    }
    if (complete_) return {MessageEvent::Kind::kEnd, {}};
    return source(max);
  }

 private:
  std::string held_;
  size_t sent_ = 0;
  bool complete_ = false;
  MessageEvent::Kind failure_ = MessageEvent::Kind::kBroken;
  bool replaced_ = false;
};

}  // namespace sallyport::mitm
