#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/host_name.h"
#include "base/loop.h"
#include "base/reason.h"

namespace sallyport::policy {

/// Keeps a guest from sending data out in names that it makes up below a wildcard, each of which
/// would reach the zone's own name server: bounds their size, their look and how many new ones
/// there are. Names that a rule names by itself don't come here. No I/O; time is passed in.
class TunnelGuard {
 public:
  /// New names that may come at once: a page, a build or an agent's start asks for a few dozen.
  static constexpr double kBurst = 100;
  /// And from then on in a second. With 100 bytes each, of which a coding leaves 5 bits in 8, some
  /// 300 bytes a second get out at most; what asks for more is slowed down, not broken.
  static constexpr double kNewNamesPerSecond = 5;
  /// Bytes of a name before its last two labels. CDNs and object stores stay below 70; a coding
  /// wants all 253.
  static constexpr size_t kMaxPrefix = 100;
  /// A label of so many bytes with more entropy than this (bits a character, of its own letters) is
  /// no word, nor a hash in hex (at most 4): base32 of 25 bytes or more has about 4.4.
  static constexpr size_t kLongLabel = 40;
  static constexpr double kMaxEntropy = 4.2;

  /// Names that were let through and are not new again. Beyond it all are forgotten.
  static constexpr size_t kRemembered = 8192;

  /// Why NAME is not to be resolved at NOW; nothing when it may.
  std::optional<Refusal> Check(const HostName& name, Clock::time_point now);

  /// Shannon's entropy of TEXT in bits a character.
  static double Entropy(std::string_view text);

 private:
  std::unordered_set<std::string> known_;
  double tokens_ = kBurst;
  std::optional<Clock::time_point> filled_;
};

}  // namespace sallyport::policy
