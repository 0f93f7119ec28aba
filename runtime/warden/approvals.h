#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "policy/wait.h"

namespace sallyport::runtime {

/// The questions that flows and requests ask the user (`ask` rules, conn:ask, req:ask), and what he
/// answered. Equal questions are one. One that nobody answered in time stays open for a while: a later
/// answer counts for the next try.
class Approvals {
 public:
  /// What is asked about. Two questions are equal when their kinds, hosts, ports, methods, paths and
  /// rules are, and, where `body_start` is there, that and `body_bytes`: who has seen a body has
  /// said yes to that one.
  struct Subject {
    std::string kind;  ///< "http", "https", "tcp", "udp", "icmp".
    std::string host;
    uint16_t port = 0;
    std::string method;  ///< Of a request.
    std::string path;    ///< Likewise; with the query.
    std::string rule;
    std::string message;
    std::optional<uint64_t> body_bytes;  ///< Of a request, where it is known.
    std::string place = {};              ///< Of the rule in the policy: "policy.lua:12".
    std::vector<std::string> secrets = {};  ///< Names of those that the request's head would be given.
    /// The body's beginning, as the guest sent it, where the rule shows it.
    std::optional<std::string> body_start = {};
  };
  enum class Answer {
    kOnce,     ///< Whoever waits now; or, if nobody does, the next try.
    kSession,  ///< For as long as the sandbox lives.
    kDeny,     ///< As kOnce.
    kDenySession,
  };
  struct Question {
    uint64_t id = 0;
    Subject subject;
    Clock::time_point asked;  ///< The latest time.
    size_t waiting = 0;       ///< How many wait for the answer now.
  };

  /// Somebody who is told of questions beside those who look at open().
  class Observer {
   public:
    virtual ~Observer() = default;
    /// Somebody has begun to wait for the answer to QUESTION; perhaps not the first.
    virtual void OnAsked(const Question& question) = 0;
    /// Question ID was answered.
    virtual void OnAnswered(uint64_t id) = 0;
  };

  explicit Approvals(Loop& loop) : loop_(loop) {}
  /// OBSERVER outlives this, or is replaced by null.
  void Observe(Observer* observer) { observer_ = observer; }

  /// Asks, and calls DONE from the loop, after LIMIT with kPending; never before returning.
  Pending Ask(Subject subject, std::chrono::milliseconds limit,
              std::function<void(policy::Approval)> done);
  /// In the order in which they were first asked.
  std::vector<Question> open();
  /// Answers question ID. kNotFound when there is none of that number (any more).
  Result<Subject> Reply(uint64_t id, Answer answer);

 private:
  using Key = std::tuple<std::string, std::string, uint16_t, std::string, std::string, std::string,
                         std::optional<std::string>, std::optional<uint64_t>>;
  struct Waiter {
    std::function<void(policy::Approval)> done;
    Loop::Handle timer;
  };
  struct Entry {
    Question question;
    std::map<uint64_t, Waiter> waiters;
    std::optional<policy::Approval> next;  // For the next try.
  };

  static Key KeyOf(const Subject& subject);
  Pending Later(policy::Approval approval, std::function<void(policy::Approval)> done);
  Entry* Open(const Key& key, Subject subject);
  void OnTime(const Key& key, uint64_t waiter);
  void DropOld();

  Loop& loop_;
  Observer* observer_ = nullptr;
  std::map<Key, Entry> entries_;
  std::map<Key, policy::Approval> for_session_;
  std::map<uint64_t, Waiter> answered_;  // On their way.
  uint64_t next_id_ = 1;
};

}  // namespace sallyport::runtime
