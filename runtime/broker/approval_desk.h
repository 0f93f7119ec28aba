#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/pending.h"
#include "base/result.h"
#include "runtime/broker/messages.h"

namespace sallyport::runtime {

/// Questions that are asked of everybody who is to be asked, at once. The first answer counts; the
/// others are then no longer waited for.
class ApprovalDesk {
 public:
  struct Channel {
    std::string name;  ///< "the webhook".
    /// Asks; never calls back before returning.
    std::function<Pending(std::string_view document, std::function<void(Result<ApprovalAnswer>)>)>
        ask;
  };
  /// TELL gets the answer, or one kNone for each channel without one.
  ApprovalDesk(std::vector<Channel> channels, std::function<void(BrokerAnswer)> tell)
      : channels_(std::move(channels)), tell_(std::move(tell)) {}

  /// Asks question ID. One that is asked already is not asked again.
  void Ask(uint64_t id, const std::string& document);
  /// Nobody need answer ID any more.
  void Forget(uint64_t id) { asked_.erase(id); }

 private:
  struct Asked {
    std::vector<Pending> pending;  ///< By channel.
    size_t open = 0;               ///< Those of whom nothing was heard yet.
  };
  void OnAnswer(uint64_t id, size_t channel, const Result<ApprovalAnswer>& answer);
  void Tell(uint64_t id, ApprovalAnswer answer, std::string words);

  const std::vector<Channel> channels_;
  const std::function<void(BrokerAnswer)> tell_;
  std::map<uint64_t, Asked> asked_;
};

}  // namespace sallyport::runtime
