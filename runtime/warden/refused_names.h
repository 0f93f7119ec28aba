#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/audit.h"

namespace sallyport::runtime {

/// Refused DNS questions beyond what is told one by one: a guest makes names up as fast as it can
/// ask, so the rest of a second is counted by zone. Does no I/O and knows no clock.
class RefusedNames {
 public:
  /// What was counted of one zone; `record` is the latest of it, with "*.zone" for its name.
  struct Zone {
    AuditRecord record;
    uint64_t count = 0;
    std::chrono::system_clock::time_point time;  ///< Of the latest.
  };

  /// Whether RECORD is to be told by itself: the first EACH in a second are. Otherwise it was counted.
  bool TellsAlone(const AuditRecord& record, size_t each,
                  std::chrono::system_clock::time_point time);
  /// What was counted in the second that is over.
  std::vector<Zone> BeginSecond();

 private:
  // What lines of one zone have in common: the zone, the reason, the rule, the policy's generation.
  using Key = std::tuple<std::string, Reason, std::string, uint64_t>;

  size_t told_ = 0;
  std::map<Key, Zone> zones_;
};

/// The last two labels of NAME; its last one where it has no more than two: what stands before them
/// may be made up.
std::string_view ZoneOf(std::string_view name);

}  // namespace sallyport::runtime
