#include "runtime/warden/refused_names.h"

#include <utility>

namespace sallyport::runtime {
namespace {

// Zones counted by name in a second; the others are counted together. Each is a line of some 300
// bytes, and zones can be made up as names can.
constexpr size_t kMaxZones = 8;

}  // namespace

std::string_view ZoneOf(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const size_t last = name.rfind('.');
  if (last == name.npos || last == 0) return name;
  const size_t before = name.rfind('.', last - 1);
  return name.substr((before == name.npos ? last : before) + 1);
}

bool RefusedNames::TellsAlone(const AuditRecord& record, size_t each,
                              std::chrono::system_clock::time_point time) {
  if (told_ < each) {
    ++told_;
    return true;
  }
  std::string zone = "*." + std::string(ZoneOf(record.name));
  Key key(std::move(zone), record.reason, record.rule, record.generation);
  if (zones_.size() >= kMaxZones && !zones_.contains(key)) {
    key = Key("*", record.reason, {}, record.generation);
  }
  Zone& counted = zones_[key];
  const uint64_t count = counted.count + 1;
  counted = {.record = {}, .count = count, .time = time};
  counted.record.flow = record.flow;
  counted.record.generation = record.generation;
  counted.record.transport = record.transport;
  counted.record.name = std::get<0>(key);
  counted.record.port = record.port;
  counted.record.rule = std::get<2>(key);
  counted.record.reason = record.reason;
  counted.record.detail = "names that were refused beyond those told one by one in this second";
  return false;
}

std::vector<RefusedNames::Zone> RefusedNames::BeginSecond() {
  told_ = 0;
  std::vector<Zone> over;
  over.reserve(zones_.size());
  for (auto& [key, zone] : zones_) over.push_back(std::move(zone));
  zones_.clear();
  return over;
}

}  // namespace sallyport::runtime
