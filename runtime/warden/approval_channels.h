#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "base/audit.h"
#include "base/loop.h"
#include "runtime/broker/messages.h"
#include "runtime/warden/approvals.h"

namespace sallyport::runtime {

/// Has questions asked of those whom the user named (a webhook, a command), through the broker,
/// while they are open at `sandboxctl approvals` as well: the first answer counts, and the others
/// are called off. No answer, or a bad one, changes nothing of a question but an audit record that
/// says why.
class ApprovalChannels final : public Approvals::Observer {
 public:
  struct Broker {
    std::function<void(uint64_t id, std::string document)> ask;
    std::function<void(uint64_t id)> forget;
  };
  struct Options {
    std::string sandbox;
    size_t channels = 1;  ///< How many are asked: so many may fail before nobody is left.
    std::chrono::milliseconds timeout{0};  ///< Theirs, as the document says it.
  };
  /// All outlive it.
  ApprovalChannels(Loop& loop, Approvals& approvals, AuditSink& audit, Broker broker,
                   Options options);
  ~ApprovalChannels() override;

  void OnAsked(const Approvals::Question& question) override;
  void OnAnswered(uint64_t id) override;
  /// ANSWER is of kind kApproval.
  void OnAnswer(const BrokerAnswer& answer);

  /// As many questions are on their way at once; the next ones wait for these.
  static constexpr size_t kMaxUnderWay = 16;
  /// How soon a question that nobody answered is asked again, when the guest tries again.
  static constexpr std::chrono::seconds kAgain{5};

 private:
  struct UnderWay {
    Approvals::Subject subject;
    size_t open = 0;  ///< Channels of which nothing was heard.
  };
  void Start(const Approvals::Question& question);
  void StartNext();
  void WriteFailure(const Approvals::Subject& subject, const std::string& why);

  Loop& loop_;
  Approvals& approvals_;
  AuditSink& audit_;
  const Broker broker_;
  const Options options_;
  std::map<uint64_t, UnderWay> under_way_;
  std::deque<Approvals::Question> waiting_;        // Each once: as many as are open at most.
  std::map<uint64_t, Clock::time_point> resting_;  // Until when; those over are dropped.
};

/// QUESTION as a JSON object in ASCII (docs/approvals.md), less than BrokerRequest::kMaxBytes. It
/// has no query and no header: there may be credentials in them.
std::string QuestionDocument(const Approvals::Question& question, const std::string& sandbox,
                             std::chrono::milliseconds timeout);

}  // namespace sallyport::runtime
