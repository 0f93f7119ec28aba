#include "policy/host_index.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

size_t LabelsOf(std::string_view name) {
  return static_cast<size_t>(std::count(name.begin(), name.end(), '.')) + 1;
}

}  // namespace

void HostIndex::Add(const HostPattern& pattern, uint32_t rule) {
  if (pattern.is_any()) {
    if (any_.empty() || any_.back() != rule) any_.push_back(rule);
    return;
  }
  const std::string& name = pattern.name()->text();
  (pattern.is_wildcard() ? zones_ : exact_).Add(name, rule);
  if (!pattern.is_wildcard()) return;
  const size_t labels = LabelsOf(name);
  zone_depths_.set(labels);
  deepest_zone_ = std::max(deepest_zone_, labels);
}

// The zones that are endings of NAME, NAME itself among them.
void HostIndex::CollectZones(std::string_view name, Cursors& cursors) const {
  // From the end: names are the guest's, and a long one costs no more than the zones are deep.
  size_t labels = 0;
  for (size_t at = name.size(); labels < deepest_zone_ && at > 0;) {
    while (at > 0 && name[at - 1] != '.') --at;
    if (zone_depths_.test(++labels)) {
      const auto found = zones_.Find(name.substr(at));
      cursors.Add(found.begin, found.end);
    }
    if (at > 0) --at;
  }
}

void HostIndex::Collect(std::string_view name, Cursors& cursors) const {
  const auto found = exact_.Find(name);
  cursors.Add(found.begin, found.end);
  const size_t dot = name.find('.');
  if (dot != name.npos) CollectZones(name.substr(dot + 1), cursors);
  cursors.Add(any_);
}

void HostIndex::CollectCovering(const HostPattern& pattern, Cursors& cursors) const {
  if (pattern.is_any()) return cursors.Add(any_);
  const std::string& name = pattern.name()->text();
  if (!pattern.is_wildcard()) return Collect(name, cursors);
  CollectZones(name, cursors);
  cursors.Add(any_);
}

}  // namespace sallyport::policy
