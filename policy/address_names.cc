#include "policy/address_names.h"

#include <algorithm>
#include <iterator>

#include "base/address_class.h"

namespace sallyport::policy {
namespace {

std::string KeyOf(const IpAddress& address) {
  const IpAddress plain = Unmapped(address);
  const auto bytes = plain.bytes();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

void AddressNames::Learn(const HostName& name, const IpAddress& address, Clock::duration ttl,
                         Clock::time_point now) {
  const std::string key = KeyOf(address);
  auto found = by_address_.find(key);
  if (found == by_address_.end()) {
    if (entries_.size() >= limits_.addresses) {
      by_address_.erase(entries_.front().key);
      entries_.pop_front();
    }
    entries_.push_back({key, {}});
    found = by_address_.emplace(key, std::prev(entries_.end())).first;
  }
  Entry& entry = *found->second;
  entry.names.remove_if([&name](const Known& known) { return known.name == name; });
  entry.names.push_front({name, now + ttl + limits_.grace});
  if (entry.names.size() > limits_.names) entry.names.pop_back();
  entries_.splice(entries_.end(), entries_, found->second);
}

std::vector<HostName> AddressNames::Lookup(const IpAddress& address, Clock::time_point now) {
  const auto found = by_address_.find(KeyOf(address));
  if (found == by_address_.end()) return {};
  Entry& entry = *found->second;
  entry.names.remove_if([now](const Known& known) { return known.until <= now; });
  if (entry.names.empty()) {
    entries_.erase(found->second);
    by_address_.erase(found);
    return {};
  }
  std::vector<HostName> names;
  for (Known& known : entry.names) {
    known.until = std::max(known.until, now + limits_.grace);
    names.push_back(known.name);
  }
  entries_.splice(entries_.end(), entries_, found->second);
  return names;
}

}  // namespace sallyport::policy
