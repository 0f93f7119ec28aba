#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/host_name.h"
#include "base/loop.h"
#include "base/pending.h"
#include "runtime/dial/ares_channel.h"
#include "runtime/dial/resolver.h"

namespace sallyport::runtime {

/// The part of the resolver that asks for other records than addresses. Equal questions under way are
/// asked once; answers are kept for their TTL, failures for a moment, so that a guest's retries cost
/// the outside nothing. Every question ends with the channel's last try.
class RecordQuestions {
 public:
  using Done = std::function<void(Result<ResolvedRecords>)>;

  /// CHANNEL is used by Ask() alone, and may call back until it is destroyed, before this is.
  RecordQuestions(Loop& loop, AresChannel& channel) : loop_(loop), channel_(channel) {}

  /// As Resolver::ResolveRecords.
  Pending Ask(const HostName& name, uint16_t type, Done done);

 private:
  using Key = std::pair<std::string, uint16_t>;
  struct Question {
    uint64_t id = 0;
    std::list<std::pair<uint64_t, Done>> waiters;
    Loop::Handle step;  // Being given to c-ares, or answered.
  };
  struct Kept {
    Result<ResolvedRecords> result;
    Clock::time_point expires;
  };

  Pending AnswerLater(uint64_t id, Done done, Result<ResolvedRecords> result);
  void Post(uint64_t id, Done done, Result<ResolvedRecords> result);
  void Start(const HostName& name, uint16_t type, uint64_t id);
  void OnAnswer(const HostName& name, uint16_t type, uint64_t id, int status,
                std::string_view message);
  void Settle(const Key& key, Result<ResolvedRecords> result);
  void Remember(const Key& key, const Result<ResolvedRecords>& result);

  Loop& loop_;
  AresChannel& channel_;
  uint64_t next_id_ = 1;
  std::map<Key, Question> questions_;
  std::map<Key, Kept> kept_;
  size_t kept_bytes_ = 0;
  std::map<uint64_t, Loop::Handle> posted_;  // Answers on their way to a waiter.
};

}  // namespace sallyport::runtime
