// A name's resolution, as steps:
//
//     Resolve -> (cache) -> Ask A and AAAA -> OnAnswer … -> OnSettled -> waiters
//
// Both families are asked at once. A usable IPv4 answer waits kPatience for the other family
// (RFC 8305, section 3). Equal questions under way are asked once. Answers are cached for their TTL,
// within kLeastTtl to kMostTtl; failures for kNegativeTtl, so that a guest's retries cost the outside
// nothing. While no resolver can answer, what was known last is used (kStaleFor); who waits has it after
// kSlow, and the question goes on for those who come later.

#include "runtime/dial/ares_resolver.h"

#include <algorithm>
#include <list>
#include <map>
#include <optional>
#include <utility>

#include "policy/dns_message.h"
#include "runtime/dial/answer_ttl.h"
#include "runtime/dial/ares_channel.h"
#include "runtime/dial/record_questions.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
namespace dns = policy::dns;

namespace {

constexpr auto kPatience = 50ms;
constexpr auto kSlow = 1800ms;   // RFC 8767, section 5: clients wait no longer for better than what is known.
constexpr auto kStaleFor = 1h;   // An old address is better than none while no resolver answers (RFC 8767).
constexpr auto kStaleTtl = 30s;  // Then it is asked for again; RFC 8767, section 5.
constexpr size_t kMaxCached = 4096;
constexpr size_t kMaxUnderWay = 256;    // A guest's names are bounded elsewhere; this bounds our sockets.

class AresResolver : public Resolver {
 public:
  explicit AresResolver(Loop& loop) : loop_(loop), records_(loop, channel_), channel_(loop) {}
  ~AresResolver() override { questions_.clear(); }

  Status Init(const std::vector<Endpoint>& servers) { return channel_.Init(servers); }
  Pending Resolve(const HostName& name, std::function<void(Result<ResolvedName>)> done) override;
  const ResolvedName* Cached(const HostName& name) const override;
  Pending ResolveRecords(const HostName& name, uint16_t type,
                         std::function<void(Result<ResolvedRecords>)> done) override {
    return records_.Ask(name, type, std::move(done));
  }

 private:
  using Done = std::function<void(Result<ResolvedName>)>;
  struct Waiter {
    uint64_t id;
    Done done;
  };
  /// One name being asked about.
  struct Question {
    explicit Question(HostName asked) : name(std::move(asked)) {}
    HostName name;
    std::list<Waiter> waiters;
    int open = 2;  // Families whose answer is out.
    std::vector<IpAddress> v4, v6;
    std::vector<HostName> chain;
    uint32_t ttl = UINT32_MAX;
    bool name_exists = true;
    std::optional<Error> failure;
    Loop::Handle patience;
  };
  struct CacheEntry {
    Result<ResolvedName> result;
    Clock::time_point expires;
    Clock::time_point stale_until;  // Of a good one: how long it may be used for want of another.
  };

  void Ask(const HostName& name, uint64_t generation, uint16_t type);
  void OnAnswer(const std::string& name, uint64_t generation, uint16_t type, int status,
                std::string_view message);
  static void Read(Question& question, uint16_t type, int status, std::string_view message);
  void OnSlow(const std::string& name);
  void Settle(const std::string& name);
  void AnswerWaiters(Question& question, const Result<ResolvedName>& result);
  static Result<ResolvedName> Outcome(Question& question, Clock::time_point now);
  bool ServeStale(const std::string& name, Result<ResolvedName>& result);
  void Remember(const std::string& name, const Result<ResolvedName>& result);

  Loop& loop_;
  uint64_t next_id_ = 1;
  std::map<std::string, std::pair<uint64_t, std::unique_ptr<Question>>> questions_;  // With generation.
  std::map<std::string, CacheEntry> cache_;
  std::map<uint64_t, Loop::Handle> starting_;  // Questions not yet given to c-ares, by generation.
  std::map<uint64_t, Loop::Handle> posted_;    // Answers on their way to a waiter.
  RecordQuestions records_;
  AresChannel channel_;  // The last: it calls back every open query when it is destroyed.
};

Pending AresResolver::Resolve(const HostName& name, Done done) {
  const uint64_t id = next_id_++;
  const std::string key = name.text();
  const auto answer_later = [&](Result<ResolvedName> result) {
    posted_[id] = loop_.Post([this, id, call = std::move(done), kept = std::move(result)]() mutable {
      auto moved = std::move(call);
      auto value = std::move(kept);
      posted_.erase(id);
      moved(std::move(value));
    });
    return Pending([this, id] { posted_.erase(id); });
  };
  if (const auto cached = cache_.find(key); cached != cache_.end()) {
    if (cached->second.expires > loop_.now()) return answer_later(cached->second.result);
  }
  if (!channel_.has_servers()) return answer_later(Fail(Code::kUnreachable, "no resolver is configured"));
  auto found = questions_.find(key);
  if (found == questions_.end()) {
    if (questions_.size() >= kMaxUnderWay) {
      return answer_later(Fail(Code::kLimit, "too many names are being resolved"));
    }
    found = questions_.emplace(key, std::pair(id, std::make_unique<Question>(name))).first;
    found->second.second->patience = loop_.After(kSlow, [this, key] { OnSlow(key); });
    // c-ares may call back at once; from the loop it finds everything in place.
    starting_[id] = loop_.Post([this, id, name] {
      starting_.erase(id);
      Ask(name, id, dns::kTypeA);
      Ask(name, id, dns::kTypeAaaa);
    });
  }
  found->second.second->waiters.push_back({id, std::move(done)});
  return Pending([this, id, key] {
    posted_.erase(id);
    const auto question = questions_.find(key);
    if (question == questions_.end()) return;
    question->second.second->waiters.remove_if([id](const Waiter& waiter) { return waiter.id == id; });
  });
}

const ResolvedName* AresResolver::Cached(const HostName& name) const {
  const auto found = cache_.find(name.text());
  if (found == cache_.end() || found->second.expires <= loop_.now() || !found->second.result) return nullptr;
  return &*found->second.result;
}

void AresResolver::Ask(const HostName& name, uint64_t generation, uint16_t type) {
  // An answer outlives its question when a patient one has settled before.
  channel_.Ask(name, type,
               [this, key = name.text(), generation, type](int status, std::string_view message) {
                 OnAnswer(key, generation, type, status, message);
               });
}

void AresResolver::OnAnswer(const std::string& name, uint64_t generation, uint16_t type, int status,
                            std::string_view message) {
  const auto found = questions_.find(name);
  if (found == questions_.end() || found->second.first != generation) return;
  Question& question = *found->second.second;
  Read(question, type, status, message);
  --question.open;
  const bool settled = question.open == 0;
  if (!settled && question.v4.empty()) return;
  // From the loop, never from inside c-ares: a waiter may ask again.
  question.patience = loop_.After(settled ? 0ms : kPatience, [this, name] { Settle(name); });
}

void AresResolver::Read(Question& question, uint16_t type, int status, std::string_view message) {
  if (message.empty()) {
    const bool slow = status == ARES_ETIMEOUT;
    question.failure = Error(slow ? Code::kTimeout : Code::kUnreachable,
                             "no resolver answered for " + question.name.text() + ": " + ares_strerror(status));
    return;
  }
  auto answer = dns::ParseResponse(message, question.name, type);
  if (!answer) {
    question.failure = Error(Code::kUnreachable, answer.error().message());
    return;
  }
  if (answer->rcode == dns::Rcode::kNxDomain) {
    question.name_exists = false;
    return;
  }
  if (answer->rcode != dns::Rcode::kNoError || answer->truncated) {
    question.failure = Error(Code::kUnreachable, "the resolvers could not answer for " + question.name.text());
    return;
  }
  if (answer->addresses.empty()) return;
  (type == dns::kTypeA ? question.v4 : question.v6) = std::move(answer->addresses);
  if (question.chain.empty()) question.chain = std::move(answer->chain);
  question.ttl = std::min(question.ttl, answer->ttl);
}

Result<ResolvedName> AresResolver::Outcome(Question& question, Clock::time_point now) {
  if (!question.v4.empty() || !question.v6.empty()) {
    ResolvedName resolved;
    resolved.chain = std::move(question.chain);
    // The families take turns, IPv4 first: the dialler tries the next address soon after.
    const size_t most = std::max(question.v4.size(), question.v6.size());
    for (size_t i = 0; i < most; ++i) {
      if (i < question.v4.size()) resolved.addresses.push_back(question.v4[i]);
      if (i < question.v6.size()) resolved.addresses.push_back(question.v6[i]);
    }
    resolved.expires = GoodUntil(question.ttl, now);
    return resolved;
  }
  if (!question.name_exists) return Fail(Code::kNotFound, question.name.text() + " does not exist");
  if (question.failure) return tl::unexpected(*question.failure);
  return Fail(Code::kNotFound, question.name.text() + " has no address");
}

void AresResolver::OnSlow(const std::string& name) {
  const auto found = questions_.find(name);
  if (found == questions_.end()) return;
  Result<ResolvedName> result = Fail(Code::kTimeout, "the resolvers take their time");
  if (ServeStale(name, result)) AnswerWaiters(*found->second.second, result);
}

void AresResolver::Settle(const std::string& name) {
  const auto found = questions_.find(name);
  if (found == questions_.end()) return;
  const auto question = std::move(found->second.second);
  questions_.erase(found);
  auto result = Outcome(*question, loop_.now());
  if (!ServeStale(name, result)) Remember(name, result);
  AnswerWaiters(*question, result);
}

void AresResolver::AnswerWaiters(Question& question, const Result<ResolvedName>& result) {
  // Each for itself: a callback may cancel another waiter, which then must not be called.
  for (Waiter& waiter : question.waiters) {
    posted_[waiter.id] = loop_.Post([this, id = waiter.id, done = std::move(waiter.done), result]() mutable {
      auto call = std::move(done);
      auto value = std::move(result);
      posted_.erase(id);
      call(std::move(value));
    });
  }
  question.waiters.clear();
}

/// Where no resolver could say anything (and not: that there is no such name), what was known last is
/// used for a while. The dialler classifies its addresses again, as ever.
bool AresResolver::ServeStale(const std::string& name, Result<ResolvedName>& result) {
  if (result || result.error().code() == Code::kNotFound) return false;
  const auto cached = cache_.find(name);
  if (cached == cache_.end() || !cached->second.result) return false;
  CacheEntry& entry = cached->second;
  if (entry.stale_until <= loop_.now()) return false;
  entry.expires = std::min(loop_.now() + kStaleTtl, entry.stale_until);
  entry.result->expires = entry.expires;
  result = entry.result;
  return true;
}

void AresResolver::Remember(const std::string& name, const Result<ResolvedName>& result) {
  if (cache_.size() >= kMaxCached) cache_.clear();  // Names are few; a full cache is a guest at play.
  const auto expires = result ? result->expires : loop_.now() + kNegativeTtl;
  cache_.insert_or_assign(name, CacheEntry{result, expires, expires + kStaleFor});
}

}  // namespace

Result<std::unique_ptr<Resolver>> NewAresResolver(Loop& loop, const std::vector<Endpoint>& servers) {
  auto resolver = std::make_unique<AresResolver>(loop);
  if (auto status = resolver->Init(servers); !status) return tl::unexpected(std::move(status).error());
  return Result<std::unique_ptr<Resolver>>(std::move(resolver));
}

}  // namespace sallyport::runtime
