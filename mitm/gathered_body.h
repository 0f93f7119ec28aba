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
  /// Reads from SOURCE(max) until MAX bytes are here, or all: kEnd then, and kBody where it is longer;
  /// kWouldBlock while neither is known, and what SOURCE failed with.
  template <class Source>
  MessageEvent::Kind Gather(Source&& source, size_t max) {
    while (!complete_ && held_.size() <= max) {
      const MessageEvent event = source(max + 1 - held_.size());
      if (event.kind == MessageEvent::Kind::kEnd) {
        complete_ = true;
      } else if (event.kind == MessageEvent::Kind::kBody) {
        held_ += event.piece;
      } else {
        return event.kind;
      }
    }
    return complete_ && held_.size() <= max ? MessageEvent::Kind::kEnd : MessageEvent::Kind::kBody;
  }
  const std::string& held() const { return held_; }

  /// Sends BYTES instead of all that there is, and of what is still to come.
  void Replace(std::string bytes) {
    held_ = std::move(bytes);
    complete_ = true;
  }

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
};

}  // namespace sallyport::mitm
