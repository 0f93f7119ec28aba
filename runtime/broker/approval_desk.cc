#include "runtime/broker/approval_desk.h"

#include <utility>

namespace sallyport::runtime {

namespace {

// The warden has no more on their way; each has a connection or a process.
constexpr size_t kMaxAsked = 64;
constexpr size_t kMaxWords = 500;  // Of an error, in the audit log.

}  // namespace

void ApprovalDesk::Ask(uint64_t id, const std::string& document) {
  if (asked_.contains(id)) return;
  if (asked_.size() >= kMaxAsked) {
    for (const auto& channel : channels_) {
      Tell(id, ApprovalAnswer::kNone, channel.name + ": too many questions are asked at once");
    }
    return;
  }
  Asked& asked = asked_[id];
  asked.open = channels_.size();
  for (size_t i = 0; i < channels_.size(); ++i) {
    asked.pending.push_back(channels_[i].ask(
        document, [this, id, i](Result<ApprovalAnswer> answer) { OnAnswer(id, i, answer); }));
  }
}

void ApprovalDesk::OnAnswer(uint64_t id, size_t channel, const Result<ApprovalAnswer>& answer) {
  const auto found = asked_.find(id);
  if (found == asked_.end()) return;
  const std::string& name = channels_[channel].name;
  if (!answer) {
    found->second.pending[channel] = {};
    if (--found->second.open == 0) asked_.erase(found);
    return Tell(id, ApprovalAnswer::kNone,
                name + ": " + answer.error().message().substr(0, kMaxWords));
  }
  const auto others = asked_.extract(found);  // Cancelled at the end of this.
  Tell(id, *answer, name);
}

void ApprovalDesk::Tell(uint64_t id, ApprovalAnswer answer, std::string words) {
  BrokerAnswer told;
  told.kind = BrokerAnswer::Kind::kApproval;
  told.id = id;
  told.approval = answer;
  told.bytes.text = std::move(words);
  tell_(std::move(told));
}

}  // namespace sallyport::runtime
