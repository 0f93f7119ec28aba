#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/approval_spec.h"
#include "base/proxy_spec.h"
#include "base/result.h"
#include "base/secret_source.h"
#include "base/telemetry_spec.h"
#include "runtime/broker/wiped.h"

// What the warden and its broker say to each other. A secret goes by its place in BrokerLaunch.
//
//     warden  u8 kind, u8 0, u16 secret, u32 length, u64 id, LENGTH bytes           (BrokerRequest)
//     broker  u8 kind, u8 0, u16 secret, u32 length, i64 lifetime in ms, LENGTH bytes (BrokerAnswer)
//
// All numbers are little-endian. A request for a value is answered once, in any order, and is not
// repeated before. A question is answered at most once, or failed once by each who is asked; then, or
// once it is forgotten, its id means nothing any more.

namespace sallyport::runtime {

/// How long a value may be good: as long as a policy may say, and a token is believed. Far below
/// what the clocks count.
constexpr std::chrono::milliseconds kMaxValueLifetime = std::chrono::hours(365 * 24);

/// What a broker is born to know.
struct BrokerLaunch {
  struct Item {
    std::string name;
    SecretSource source;
  };
  /// What servers of some hosts must prove, and are shown (`upstream "HOST" { … }`).
  struct Server {
    struct Identity {
      std::pair<std::string, std::string> chain;  ///< File name and PEM text, the leaf first.
      std::string key_file;                       ///< Among the files that `secrets` name.
    };
    std::string host;         ///< A HostPattern, as it writes itself.
    std::string declared_at;  ///< "policy.lua:12".
    std::vector<std::pair<std::string, std::string>> roots;  ///< File name and PEM text.
    std::vector<std::string> pins;                           ///< As in mitm::DeclaredServer.
    std::optional<Identity> client;
  };
  std::vector<Item> secrets;
  std::vector<std::string> resolvers;                            ///< "192.0.2.1:53".
  std::vector<std::pair<std::string, std::string>> extra_roots;  ///< File name and PEM text.
  std::vector<Server> servers;  ///< The first whose host matches counts.
  /// Its sources are among those of `secrets`: the warden needs them, too.
  std::optional<ProxySpec> proxy;
  /// Who is asked what the policy asks. What it names is read here alone.
  std::optional<ApprovalSpec> approvals;
  std::optional<TelemetrySpec> telemetry;

  std::string Encode() const;
  /// kInvalid for anything that Encode() did not write.
  static Result<BrokerLaunch> Decode(std::string_view bytes);
};

/// What somebody who was asked says.
enum class ApprovalAnswer : uint16_t {
  kNone = 0,  ///< Nothing that could be understood, or nothing in time.
  kOnce = 1,
  kSession = 2,
  kDeny = 3,
  kDenySession = 4,
};

/// A value, or why there is none; or what else a request came to.
struct BrokerAnswer {
  enum class Kind : uint8_t {
    kValue = 0,
    kFailure = 1,   ///< This secret has no value now; `bytes` say why.
    kFatal = 2,     ///< The broker can't work at all; `bytes` say why, and nothing follows.
    kApproval = 3,  ///< Of the question `id`; `bytes` say who answered, or why he did not.
    kFlushed = 4,   ///< To kFlush.
  };
  Kind kind = Kind::kFailure;
  uint16_t secret = 0;
  std::optional<std::chrono::milliseconds>
      lifetime;  ///< From now; none when the source names none.
  ApprovalAnswer approval = ApprovalAnswer::kNone;  ///< Of kApproval: in the place of `secret`.
  uint64_t id = 0;                                  ///< Likewise, of `lifetime`; below 2^63.
  Wiped bytes;

  /// At most this many bytes: a value is 64 KiB at most.
  static constexpr size_t kMaxBytes = size_t{64} * 1024;
  static constexpr size_t kHeadSize = 16;

  Wiped Encode() const;
};

/// Takes answers out of a stream of bytes that arrives in pieces of any size.
class BrokerAnswerReader {
 public:
  BrokerAnswerReader();
  /// Where the next bytes are to be stored: at least one byte long. Then Stored(how many).
  std::pair<char*, size_t> Space();
  void Stored(size_t size);
  /// The next whole answer, if there is one. kInvalid for what is none: the stream is of no more
  /// use.
  Result<std::optional<BrokerAnswer>> Next();

 private:
  Wiped buffer_;  // Never grows: two answers fit, and none waits longer than until Next().
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace sallyport::runtime
