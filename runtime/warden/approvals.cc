#include "runtime/warden/approvals.h"

#include <algorithm>
#include <utility>

namespace sallyport::runtime {

using policy::Approval;

namespace {

// More open questions than anybody answers; a guest makes them up. Further ones go unanswered.
constexpr size_t kMaxQuestions = 256;
constexpr size_t kMaxWaiting = 1024;
// Nobody reads longer ones, and each question keeps its own.
constexpr size_t kMaxPath = 4096;
// What the user said for the sandbox's life. With a path and a body each: 35 MiB at most.
constexpr size_t kMaxForSession = 4096;
// How long a question that nobody waits for any more can be answered.
constexpr std::chrono::minutes kQuestionLife{30};

}  // namespace

Approvals::Key Approvals::KeyOf(const Subject& subject) {
  return {subject.kind,
          subject.host,
          subject.port,
          subject.method,
          subject.path,
          subject.rule,
          subject.body_start,
          subject.body_start ? subject.body_bytes : std::nullopt};
}

Pending Approvals::Ask(Subject subject, std::chrono::milliseconds limit,
                       std::function<void(Approval)> done) {
  Key key = KeyOf(subject);
  if (const auto known = for_session_.find(key); known != for_session_.end()) {
    return Later(known->second, std::move(done));
  }
  if (subject.path.size() > kMaxPath) return Later(Approval::kPending, std::move(done));
  DropOld();
  Entry* entry = Open(key, std::move(subject));
  if (entry == nullptr || entry->waiters.size() >= kMaxWaiting) {
    return Later(Approval::kPending, std::move(done));
  }
  if (entry->next) {
    const Approval approval = *entry->next;
    entries_.erase(key);
    return Later(approval, std::move(done));
  }
  const uint64_t id = next_id_++;
  Waiter& waiter = entry->waiters[id];
  waiter.done = std::move(done);
  waiter.timer = loop_.After(limit, [this, key, id] { OnTime(key, id); });
  if (observer_ != nullptr) {
    entry->question.waiting = entry->waiters.size();
    observer_->OnAsked(entry->question);
  }
  return Pending([this, key = std::move(key), id] {
    answered_.erase(id);
    const auto found = entries_.find(key);
    if (found != entries_.end()) found->second.waiters.erase(id);
  });
}

/// Answers from the loop.
Pending Approvals::Later(Approval approval, std::function<void(Approval)> done) {
  const uint64_t id = next_id_++;
  Waiter& waiter = answered_[id];
  waiter.done = std::move(done);
  waiter.timer = loop_.Post([this, id, approval] {
    const auto node = answered_.extract(id);
    node.mapped().done(approval);
  });
  return Pending([this, id] { answered_.erase(id); });
}

/// The entry of KEY; null when there are too many.
Approvals::Entry* Approvals::Open(const Key& key, Subject subject) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    if (entries_.size() >= kMaxQuestions) return nullptr;
    found = entries_.emplace(key, Entry{}).first;
    found->second.question.id = next_id_++;
  }
  Question& question = found->second.question;
  question.subject = std::move(subject);
  question.asked = loop_.Time();
  return &found->second;
}

/// WAITER of the question KEY has waited as long as it may.
void Approvals::OnTime(const Key& key, uint64_t waiter) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  auto node = found->second.waiters.extract(waiter);
  if (!node.empty()) node.mapped().done(Approval::kPending);
}

void Approvals::DropOld() {
  const auto end = loop_.Time() - kQuestionLife;
  std::erase_if(entries_, [end](const auto& entry) {
    return entry.second.waiters.empty() && entry.second.question.asked < end;
  });
}

std::vector<Approvals::Question> Approvals::open() {
  DropOld();
  std::vector<Question> questions;
  for (const auto& [key, entry] : entries_) {
    if (entry.next) continue;
    questions.push_back(entry.question);
    questions.back().waiting = entry.waiters.size();
  }
  std::sort(questions.begin(), questions.end(),
            [](const Question& a, const Question& b) { return a.id < b.id; });
  return questions;
}

Result<Approvals::Subject> Approvals::Reply(uint64_t id, Answer answer) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [id](const auto& entry) {
    return entry.second.question.id == id && !entry.second.next;
  });
  if (found == entries_.end()) {
    return Fail(Code::kNotFound, "there is no open question " + std::to_string(id));
  }
  const bool yes = answer == Answer::kOnce || answer == Answer::kSession;
  const bool for_session = answer == Answer::kSession || answer == Answer::kDenySession;
  const Approval approval = yes ? Approval::kApproved : Approval::kDenied;
  if (for_session) {
    if (for_session_.size() >= kMaxForSession)
      return Fail(Code::kLimit, "too many answers for this session; write a rule");
    for_session_.emplace(found->first, approval);
  }
  Subject subject = found->second.question.subject;
  if (observer_ != nullptr) observer_->OnAnswered(id);
  auto waiters = std::move(found->second.waiters);
  if (waiters.empty() && !for_session) {
    found->second.waiters.clear();
    found->second.next = approval;
    return subject;
  }
  entries_.erase(found);
  for (auto& [number, waiter] : waiters) {
    // On its own turn: what it leads to may ask again.
    waiter.timer = loop_.Post([this, number = number, approval] {
      const auto node = answered_.extract(number);
      node.mapped().done(approval);
    });
    answered_.emplace(number, std::move(waiter));
  }
  return subject;
}

}  // namespace sallyport::runtime
