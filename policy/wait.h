#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/http_message.h"
#include "base/http_url.h"
#include "base/pending.h"

// What a decision may have to wait for. The engine does no I/O: whoever asked it does what is to be
// done, and resumes the decision with what came of it.

namespace sallyport::policy {

/// How long a guest waits for an answer of the user's where the rule does not say: clients give up
/// soon after.
inline constexpr std::chrono::seconds kAskLimit{25};

/// `sleep "1s"`.
struct SleepWait {
  std::chrono::milliseconds time{0};
  bool operator==(const SleepWait&) const = default;
};

/// A question to the user: ask.http and its like, conn:ask, req:ask.
struct AskWait {
  std::string message;  ///< May be empty.
  std::string rule;     ///< What asks: a rule's id, or a function's.
  std::chrono::milliseconds limit = kAskLimit;  ///< How long the guest waits for the answer.
  std::string place = {};  ///< Where it stands in the policy ("policy.lua:12"), whatever its id is.
  size_t show_body = 0;    ///< How much of a request's body the user is to see; none at 0.
  bool operator==(const AskWait&) const = default;
};

/// req:body(max): the message's body, to be read and kept.
struct BodyWait {
  size_t max = 0;
  bool operator==(const BodyWait&) const = default;
};

/// `fetch { … }`: a request of the policy's own.
struct FetchWait {
  HttpUrl url;
  std::string method;
  Headers headers;
  std::string body;
  std::chrono::milliseconds timeout{0};
  std::string rule;  ///< The place of the call: "policy.lua:12".
  bool operator==(const FetchWait&) const = default;
};

using Wait = std::variant<SleepWait, AskWait, BodyWait, FetchWait>;

/// What became of each.
struct Slept {};
enum class Approval {
  kApproved,
  kDenied,
  kPending,  ///< Nobody answered in time.
};
struct ReadBody {
  std::optional<std::string> bytes;  ///< Nothing: it is longer than asked for.
};

struct Fetched {
  int status = 0;
  Headers headers;
  std::string body;   ///< At most kMaxScriptBody.
  std::string error;  ///< Why there is no answer; empty if there is one.
};

using WaitResult = std::variant<Slept, Approval, ReadBody, Fetched>;

struct Facts;

/// What a decision is about, for whoever is asked.
struct WaitSubject {
  const Facts& facts;
  const RequestHead* request = nullptr;   ///< Null for a flow.
  std::optional<uint64_t> body_bytes = {};  ///< Of the request, where that is known.
  std::optional<std::string> body_start = {};  ///< Of the request, as far as AskWait::show_body wants.
  std::vector<std::string> secrets = {};       ///< Names of those that its head would be given.
};

/// Who sleeps, fetches and asks the user for decisions. A body is its connection's affair.
class WaitService {
 public:
  virtual ~WaitService() = default;
  /// Begins WAIT, and calls DONE from the loop, never before returning. Destroying the Pending ends it:
  /// the guest gave up. WAIT and SUBJECT are used before returning only.
  virtual Pending Begin(const Wait& wait, const WaitSubject& subject,
                        std::function<void(WaitResult)> done) = 0;
};

/// A callback that waits more often than this fails.
inline constexpr size_t kMaxWaits = 64;
/// How long a `fetch` may take, unless it says so itself, and at most.
inline constexpr std::chrono::seconds kFetchTimeout{10};
inline constexpr std::chrono::seconds kMaxFetchTimeout{60};
/// The longest `sleep`.
inline constexpr std::chrono::minutes kMaxSleep{1};
/// The most that a question shows of a body: a person reads no more.
inline constexpr size_t kMaxShownBody = 4096;
/// The most that a callback may read of a body.
inline constexpr size_t kMaxScriptBody = size_t{1} << 20;

}  // namespace sallyport::policy
