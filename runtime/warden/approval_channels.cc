#include "runtime/warden/approval_channels.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/warden/approval_commands.h"

namespace sallyport::runtime {

namespace {

using nlohmann::json;
using Answer = Approvals::Answer;

// Each byte may become six: a path and a body of 4 KiB are 48 KiB, the names 24, the words 9.
constexpr size_t kMaxSecretNames = 32;
constexpr size_t kMaxWords = 500;

Answer ToAnswer(ApprovalAnswer answer) {
  switch (answer) {
    case ApprovalAnswer::kOnce:
      return Answer::kOnce;
    case ApprovalAnswer::kSession:
      return Answer::kSession;
    case ApprovalAnswer::kDenySession:
      return Answer::kDenySession;
    case ApprovalAnswer::kDeny:
    case ApprovalAnswer::kNone:
      break;
  }
  return Answer::kDeny;
}

const char* WordOf(Answer answer) {
  switch (answer) {
    case Answer::kOnce:
      return "approve once";
    case Answer::kSession:
      return "approve session";
    case Answer::kDenySession:
      return "approve deny-session";
    case Answer::kDeny:
      break;
  }
  return "approve deny";
}

}  // namespace

std::string QuestionDocument(const Approvals::Question& question, const std::string& sandbox,
                             std::chrono::milliseconds timeout) {
  const Approvals::Subject& subject = question.subject;
  const size_t query = subject.path.find('?');
  json document = {{"version", 1},
                   {"id", sandbox + "/" + std::to_string(question.id)},
                   {"sandbox", sandbox},
                   {"rule", subject.rule.substr(0, kMaxWords)},
                   {"place", subject.place.substr(0, kMaxWords)},
                   {"message", subject.message.substr(0, kMaxWords)},
                   {"kind", subject.kind},
                   {"host", subject.host},
                   {"port", subject.port},
                   {"waiting", question.waiting},
                   {"timeout_ms", timeout.count()}};
  if (!subject.method.empty()) {
    document["method"] = subject.method.substr(0, kMaxWords);
    document["path"] = subject.path.substr(0, query);
    document["has_query"] = query != std::string::npos;
    document["secrets"] = json::array();
    for (const auto& name : subject.secrets) {
      if (document["secrets"].size() >= kMaxSecretNames) break;
      document["secrets"].push_back(name);
    }
  }
  if (subject.body_bytes) document["body_bytes"] = *subject.body_bytes;
  if (subject.body_start) document["body_start"] = *subject.body_start;
  return document.dump(-1, ' ', true, json::error_handler_t::replace);
}

ApprovalChannels::ApprovalChannels(Loop& loop, Approvals& approvals, AuditSink& audit,
                                   Broker broker, Options options)
    : loop_(loop),
      approvals_(approvals),
      audit_(audit),
      broker_(std::move(broker)),
      options_(std::move(options)) {
  approvals_.Observe(this);
}

ApprovalChannels::~ApprovalChannels() {
  approvals_.Observe(nullptr);
}

void ApprovalChannels::OnAsked(const Approvals::Question& question) {
  const auto now = loop_.Time();
  std::erase_if(resting_, [now](const auto& rest) { return rest.second <= now; });
  const auto same = [&question](const auto& other) { return other.id == question.id; };
  if (under_way_.contains(question.id) || resting_.contains(question.id) ||
      std::any_of(waiting_.begin(), waiting_.end(), same)) {
    return;
  }
  if (under_way_.size() < kMaxUnderWay) return Start(question);
  waiting_.push_back(question);
}

void ApprovalChannels::Start(const Approvals::Question& question) {
  under_way_[question.id] = {question.subject, options_.channels};
  broker_.ask(question.id, QuestionDocument(question, options_.sandbox, options_.timeout));
}

void ApprovalChannels::StartNext() {
  while (!waiting_.empty() && under_way_.size() < kMaxUnderWay) {
    const auto question = std::move(waiting_.front());
    waiting_.pop_front();
    Start(question);
  }
}

void ApprovalChannels::OnAnswered(uint64_t id) {
  std::erase_if(waiting_, [id](const auto& question) { return question.id == id; });
  resting_.erase(id);
  if (under_way_.erase(id) > 0) broker_.forget(id);
  StartNext();
}

void ApprovalChannels::OnAnswer(const BrokerAnswer& told) {
  const auto found = under_way_.find(told.id);
  if (found == under_way_.end()) return;  // Answered meanwhile by somebody else.
  if (told.approval == ApprovalAnswer::kNone) {
    WriteFailure(found->second.subject, told.bytes.text);
    if (--found->second.open > 0) return;
    under_way_.erase(found);
    resting_.emplace(told.id, loop_.Time() + kAgain);
    return StartNext();
  }
  const Answer answer = ToAnswer(told.approval);
  const auto subject = approvals_.Reply(told.id, answer);
  if (!subject) {  // Too old, or too many for the session.
    WriteFailure(found->second.subject, told.bytes.text + ": " + subject.error().message());
    under_way_.erase(found);
    return StartNext();
  }
  AuditRecord record = RecordOf(*subject, WordOf(answer));
  record.detail = "answered by " + told.bytes.text;
  audit_.Write(record);
}

void ApprovalChannels::WriteFailure(const Approvals::Subject& subject, const std::string& why) {
  AuditRecord record = RecordOf(subject, "approve");
  record.allowed = false;
  record.reason = Reason::kApprovalPending;
  record.detail = "no answer of " + why;
  audit_.Write(record);
}

}  // namespace sallyport::runtime
