#include "policy/name_lists.h"

#include <functional>

#include "base/check.h"

namespace sallyport::policy {

uint32_t NameLists::HashOf(std::string_view name) {
  const size_t hash = std::hash<std::string_view>()(name);
  return static_cast<uint32_t>(hash ^ hash >> 32);
}

size_t NameLists::Slot(std::string_view name, uint32_t hash) const {
  const size_t mask = entries_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    const Entry& entry = entries_[at];
    if (entry.name_size == 0) return at;
    if (entry.hash == hash && entry.name_size == name.size() &&
        std::string_view(names_).substr(entry.name_at, entry.name_size) == name) {
      return at;
    }
  }
}

void NameLists::Grow() {
  std::vector<Entry> old(entries_.empty() ? 16 : 2 * entries_.size());
  old.swap(entries_);
  for (const Entry& entry : old) {
    if (entry.name_size == 0) continue;
    const auto name = std::string_view(names_).substr(entry.name_at, entry.name_size);
    entries_[Slot(name, entry.hash)] = entry;
  }
}

void NameLists::Add(std::string_view name, uint32_t rule) {
  SALLYPORT_CHECK(!name.empty() && name.size() <= UINT16_MAX);  // It came from a HostName.
  if (2 * (used_ + 1) > entries_.size()) Grow();
  const uint32_t hash = HashOf(name);
  Entry& entry = entries_[Slot(name, hash)];
  if (entry.name_size == 0) {
    ++used_;
    entry.hash = hash;
    entry.name_at = static_cast<uint32_t>(names_.size());
    entry.name_size = static_cast<uint16_t>(name.size());
    entry.rule = rule;
    names_ += name;
    return;
  }
  if (!entry.is_many) {
    if (entry.rule == rule) return;
    many_.push_back({entry.rule});
    entry.is_many = true;
    entry.rule = static_cast<uint32_t>(many_.size() - 1);
  }
  std::vector<uint32_t>& list = many_[entry.rule];
  if (list.back() != rule) list.push_back(rule);
}

NameLists::List NameLists::Find(std::string_view name) const {
  if (entries_.empty()) return {};
  const Entry& entry = entries_[Slot(name, HashOf(name))];
  if (entry.name_size == 0) return {};
  if (!entry.is_many) return {&entry.rule, &entry.rule + 1};
  const std::vector<uint32_t>& list = many_[entry.rule];
  return {list.data(), list.data() + list.size()};
}

}  // namespace sallyport::policy
