#include "runtime/dial/record_questions.h"


#include "policy/dns_records.h"
#include "runtime/dial/answer_ttl.h"

namespace sallyport::runtime {

namespace dns = policy::dns;

namespace {

constexpr size_t kMaxUnderWay = 64;      // Each has a query at c-ares, and an answer of 16 KiB.
constexpr size_t kMaxKept = 512;         // Questions; and of their answers
constexpr size_t kMaxKeptBytes = 1 << 20;  // so much.

Result<ResolvedRecords> Read(const HostName& name, uint16_t type, int status,
                             std::string_view message, Clock::time_point now) {
  const std::string what = dns::TypeName(type) + " of " + name.text();
  if (message.empty()) {
    return Fail(status == ARES_ETIMEOUT ? Code::kTimeout : Code::kUnreachable,
                "no resolver answered for " + what + ": " + ares_strerror(status));
  }
  auto answer = dns::ParseRecords(message, name, type);
  if (!answer) return Fail(Code::kUnreachable, answer.error().message());
  if (answer->rcode == dns::Rcode::kNxDomain) {
    return Fail(Code::kNotFound, name.text() + " does not exist");
  }
  if (answer->rcode != dns::Rcode::kNoError || answer->truncated) {
    return Fail(Code::kUnreachable, "the resolvers could not answer for " + what);
  }
  ResolvedRecords records;
  records.data = std::move(answer->data);
  records.chain = std::move(answer->chain);
  records.expires = records.data.empty() ? now + kNegativeTtl : GoodUntil(answer->ttl, now);
  return records;
}

size_t SizeOf(const Result<ResolvedRecords>& result) {
  size_t size = 0;
  if (!result) return size;
  for (const auto& data : result->data) size += data.size();
  return size;
}

}  // namespace

Pending RecordQuestions::Ask(const HostName& name, uint16_t type, Done done) {
  const uint64_t id = next_id_++;
  const Key key(name.text(), type);
  if (const auto kept = kept_.find(key); kept != kept_.end()) {
    if (kept->second.expires > loop_.now()) {
      return AnswerLater(id, std::move(done), kept->second.result);
    }
  }
  if (!channel_.has_servers()) {
    return AnswerLater(id, std::move(done), Fail(Code::kUnreachable, "no resolver is configured"));
  }
  auto found = questions_.find(key);
  if (found == questions_.end()) {
    if (questions_.size() >= kMaxUnderWay) {
      return AnswerLater(id, std::move(done),
                         Fail(Code::kLimit, "too many records are being asked for"));
    }
    found = questions_.try_emplace(key).first;
    found->second.id = id;
    // c-ares may call back at once; from the loop it finds everything in place.
    found->second.step = loop_.Post([this, name, type, id] { Start(name, type, id); });
  }
  found->second.waiters.emplace_back(id, std::move(done));
  return Pending([this, id, key] {
    posted_.erase(id);
    const auto question = questions_.find(key);
    if (question == questions_.end()) return;
    question->second.waiters.remove_if([id](const auto& waiter) { return waiter.first == id; });
  });
}

Pending RecordQuestions::AnswerLater(uint64_t id, Done done, Result<ResolvedRecords> result) {
  Post(id, std::move(done), std::move(result));
  return Pending([this, id] { posted_.erase(id); });
}

void RecordQuestions::Post(uint64_t id, Done done, Result<ResolvedRecords> result) {
  posted_[id] =
      loop_.Post([this, id, call = std::move(done), kept = std::move(result)]() mutable {
        auto moved = std::move(call);
        auto value = std::move(kept);
        posted_.erase(id);
        moved(std::move(value));
      });
}

void RecordQuestions::Start(const HostName& name, uint16_t type, uint64_t id) {
  channel_.Ask(name, type, [this, name, type, id](int status, std::string_view message) {
    OnAnswer(name, type, id, status, message);
  });
}

void RecordQuestions::OnAnswer(const HostName& name, uint16_t type, uint64_t id, int status,
                               std::string_view message) {
  const Key key(name.text(), type);
  const auto found = questions_.find(key);
  if (found == questions_.end() || found->second.id != id) return;
  // From the loop, never from inside c-ares: a waiter may ask again.
  found->second.step =
      loop_.Post([this, key, result = Read(name, type, status, message, loop_.now())] {
        Settle(Key(key), Result<ResolvedRecords>(result));
      });
}

void RecordQuestions::Settle(const Key& key, Result<ResolvedRecords> result) {
  const auto found = questions_.find(key);
  if (found == questions_.end()) return;
  auto waiters = std::move(found->second.waiters);
  questions_.erase(found);
  Remember(key, result);
  // Each for itself: a callback may cancel another waiter, which then must not be called.
  for (auto& [id, done] : waiters) Post(id, std::move(done), result);
}

void RecordQuestions::Remember(const Key& key, const Result<ResolvedRecords>& result) {
  const size_t bytes = SizeOf(result);
  // Names with such records are few; a full store is a guest at play.
  if (kept_.size() >= kMaxKept || kept_bytes_ + bytes > kMaxKeptBytes) {
    kept_.clear();
    kept_bytes_ = 0;
  }
  const auto expires = result ? result->expires : loop_.now() + kNegativeTtl;
  if (const auto old = kept_.find(key); old != kept_.end()) {
    kept_bytes_ -= SizeOf(old->second.result);
    kept_.erase(old);
  }
  kept_bytes_ += bytes;
  kept_.emplace(key, Kept{result, expires});
}

}  // namespace sallyport::runtime
