#include "policy/host_index.h"

#include <algorithm>

namespace sallyport::policy {
namespace {

size_t LabelsOf(std::string_view name) {
  return static_cast<size_t>(std::count(name.begin(), name.end(), '.')) + 1;
}

// What stands behind the first dot; empty for a single label.
std::string_view ParentOf(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == name.npos ? std::string_view() : name.substr(dot + 1);
}

}  // namespace

void HostIndex::Add(const HostPattern& pattern, uint32_t rule) {
  if (pattern.is_any()) {
    if (any_.empty() || any_.back() != rule) any_.push_back(rule);
    return;
  }
  const std::string& name = pattern.name()->text();
  (pattern.is_wildcard() ? zones_ : exact_).Add(name, rule);
  if (pattern.is_wildcard()) deepest_zone_ = std::max(deepest_zone_, LabelsOf(name));
}

void HostIndex::CollectZones(std::string_view first_zone, Cursors& cursors) const {
  if (zones_.empty() || first_zone.empty()) return;
  std::string_view zone = first_zone;
  // Names are the guest's: a long one costs no more than the zones of the file are deep.
  for (size_t labels = LabelsOf(zone); labels > deepest_zone_; --labels) zone = ParentOf(zone);
  for (; !zone.empty(); zone = ParentOf(zone)) {
    const auto found = zones_.Find(zone);
    cursors.Add(found.begin, found.end);
  }
}

void HostIndex::Collect(std::string_view name, Cursors& cursors) const {
  const auto found = exact_.Find(name);
  cursors.Add(found.begin, found.end);
  CollectZones(ParentOf(name), cursors);
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
