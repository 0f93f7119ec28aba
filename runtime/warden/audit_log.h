#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/audit.h"
#include "base/loop.h"
#include "base/unique_fd.h"
#include "runtime/warden/byte_budget.h"
#include "runtime/warden/refused_names.h"

namespace sallyport::runtime {

/// The audit log: one JSON object a line, written whole by one write() (docs/audit.md has every
/// key). With a loop, lines of requests that were allowed and of TCP connections that ended share one
/// with those of the same turn, and are written before the loop waits; each other line is written at
/// once. What was allowed, or may have left, always has its line, however much else there is: a log
/// that does not keep up makes the gate wait (the write blocks), and one that fails makes it deny.
/// Refusals cost a guest nothing, so they can't be let to fill the log, or the disk:
///
/// - Equal denials within a window are told once at once, and then once more with their number. So are
///   equal answers to DNS questions, and messages of the policy's own.
/// - Refused names beyond the first few of a second are told by zone, with their number.
/// - Beyond a budget of bytes refusals are counted, and the count becomes a line; likewise the policy's
///   messages beyond so many in a second.
/// - After a write that failed or fell short nothing is written any more, so that the half line is
///   the last; healthy() is then false for good, and the gate denies.
class AuditLog : public AuditSink {
 public:
  struct Options {
    std::string sandbox;                     ///< The sandbox's id; the same in every line.
    Loop* loop = nullptr;                    ///< Outlives the log. Null: no line waits.
    std::chrono::milliseconds window{5000};  ///< How long equal denials are counted for one line.
    size_t max_kinds = 256;  ///< Kinds of denials counted at once; the oldest gives way.
    size_t names_per_second = 16;  ///< Refused DNS questions told one by one.
    uint64_t max_messages_per_second = 20;
    /// What lines of refusals may take, so that it takes a guest more than ten hours of nothing else to
    /// push other lines out of a log of 5 files of 64 MiB each.
    ByteBudget::Options refusals{.at_once = uint64_t{1} << 20, .per_second = 8192};
    /// Is given each line, with its newline, once it was written.
    std::function<void(std::string_view line)> tap = {};
    /// The clocks, for tests.
    std::function<Clock::time_point()> now = [] { return Clock::now(); };
    std::function<std::chrono::system_clock::time_point()> wall = [] {
      return std::chrono::system_clock::now();
    };
  };

  /// Appends to FD, which should be open with O_APPEND. A descriptor that can't be written at once
  /// (a full, non-blocking pipe) counts as failed. The process must ignore SIGPIPE.
  AuditLog(UniqueFd fd, Options options);
  /// Flushes everything.
  ~AuditLog() override;

  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  void Write(const AuditRecord& record) override;

  /// A line of the policy's own (log.info, log.warn). Equal ones are counted as equal denials are; a
  /// guest may cause them, so they have a bound of their own, beyond which they are only counted.
  struct Message {
    std::string level;  ///< "info", "warn".
    std::string text;
    std::string place;  ///< "policy.lua:12".
    uint64_t flow = 0;
  };
  void WriteMessage(const Message& message);

  bool healthy() const override { return failure_.empty(); }

  /// What records that don't say it are taken to be decided by: the policy's GENERATION, 1 at first.
  void SetGeneration(uint64_t generation) { generation_ = generation; }

  /// Writes the lines that wait for the end of the turn.
  void WriteWaiting();

  /// Goes on in FD, opened as the first one, unless the log has failed already.
  void Continue(UniqueFd fd);

  /// Writes the counts whose window or second is over at NOW. Call it from a timer, about once a
  /// second; with Clock::time_point::max() it writes all of them.
  void Flush(Clock::time_point now);

  /// What made the log unhealthy; empty while it is healthy.
  const std::string& failure() const { return failure_; }

  /// How many decisions of a kind there were, written or only counted.
  struct Count {
    std::string transport;
    std::string direction;
    bool allowed = false;
    Reason reason = Reason::kAllowed;
    auto operator<=>(const Count&) const = default;
  };
  using Counts = std::map<Count, uint64_t>;
  const Counts& counts() const { return counts_; }

 private:
  /// A kind of decision that was told one window before DUE, and how often it came again since.
  struct Kind {
    std::string body;       // All that makes decisions equal, as it stands in the line.
    bool is_message = false;
    bool kept = false;      // Has its line whatever the budget says.
    bool may_wait = false;  // For the turn's end.
    Clock::time_point due;  // When its count is written.
    uint64_t repeats = 0;
    uint64_t flow = 0;  // Of the latest.
    std::chrono::system_clock::time_point time;
    uint64_t bytes_up = 0;  // Of all that were counted.
    uint64_t bytes_down = 0;
    std::chrono::microseconds duration{0};  // Of the latest.
  };
  using Kinds = std::list<Kind>;

  Kind KindOf(const AuditRecord& record, std::string body) const;
  bool Counted(const AuditRecord& record, const std::string& body, Clock::time_point now);
  void Remember(const Kind& occurrence, Clock::time_point now);
  void WriteOut(Kinds::iterator kind, Clock::time_point now);
  bool Tell(const Kind& occurrence, Clock::time_point now);
  bool MayTell(const Kind& occurrence, size_t size, Clock::time_point now);
  void WriteZones(Clock::time_point now);
  void WriteSuppressed();
  void BeginSecond(Clock::time_point now);
  std::string Head(std::chrono::system_clock::time_point time) const;
  void Append(std::string_view line);
  void WriteLines(std::string_view lines);

  UniqueFd fd_;
  uint64_t generation_ = 1;
  const Options options_;
  std::string sandbox_json_;  // "sandbox":"…", or empty.
  std::string failure_;
  Counts counts_;  // Bounded by the words there are: transports, directions and reasons.

  Kinds kinds_;                                                    // Oldest window first.
  std::unordered_map<std::string_view, Kinds::iterator> by_body_;  // Keys point into kinds_.

  RefusedNames names_;
  ByteBudget budget_;
  Clock::time_point second_began_;
  uint64_t suppressed_ = 0;
  uint64_t messages_this_second_ = 0;
  uint64_t suppressed_messages_ = 0;

  std::string waiting_;  // Whole lines, PIPE_BUF bytes at most: then no other writer cuts into them.
  Loop::Handle before_wait_;
};

}  // namespace sallyport::runtime
