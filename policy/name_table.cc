#include "policy/name_table.h"

#include <algorithm>
#include <iterator>

namespace sallyport::policy {

namespace {

const Prefix& V4Range() {
  static const Prefix kRange(IpAddress::V4(198, 18, 0, 0), 15);
  return kRange;
}

// Host numbers within the /15. The ends are left out, and with them everything that looks like a
// network or a broadcast address of the range as a whole.
constexpr uint32_t kFirstNumber = 1;
constexpr uint32_t kNumbers = (1u << 17) - 2;

std::array<uint8_t, 8> RandomV6Prefix(uint64_t seed) {
  // 2001:2::/48, the range for benchmarks (RFC 5180), and 16 random bits.
  return {0x20,
          0x01,
          0x00,
          0x02,
          0x00,
          0x00,
          static_cast<uint8_t>(seed >> 8),
          static_cast<uint8_t>(seed)};
}

}  // namespace

NameTable::NameTable(const Limits& limits, uint64_t seed)
    : limits_(limits),
      v6_prefix_(RandomV6Prefix(seed)),
      next_(kFirstNumber + static_cast<uint32_t>(seed >> 16) % kNumbers) {}

std::optional<IpAddress> NameTable::Assign(const HostName& name, Kind kind, Family family,
                                           Clock::time_point now) {
  if (const auto known = by_name_.find(name.text()); known != by_name_.end()) {
    const auto slot = known->second;
    if (slot->entry.kind != kind) {
      if (!MakeRoom(kind, now)) return std::nullopt;
      auto& from = ListOf(slot->entry.kind);
      slot->entry.kind = kind;
      ListOf(kind).splice(ListOf(kind).end(), from, slot);
    }
    Touch(slot);
    return AddressOf(slot->number, family);
  }
  if (!MakeRoom(kind, now)) return std::nullopt;
  const auto number = TakeNumber(now);
  if (!number) return std::nullopt;
  auto& list = ListOf(kind);
  list.push_back(Slot{.entry = {name, kind}, .number = *number});
  const auto slot = std::prev(list.end());
  by_name_.emplace(name.text(), slot);
  by_number_.emplace(*number, slot);
  return AddressOf(*number, family);
}

const NameTable::Entry* NameTable::Lookup(const IpAddress& address) {
  const auto number = NumberOf(address);
  if (!number) return nullptr;
  const auto found = by_number_.find(*number);
  if (found == by_number_.end()) return nullptr;
  Touch(found->second);
  return &found->second->entry;
}

bool NameTable::IsSynthetic(const IpAddress& address) const {
  if (address.is_v4()) return V4Range().Contains(address);
  return std::equal(v6_prefix_.begin(), v6_prefix_.end(), address.bytes().begin());
}

void NameTable::Pin(const HostName& name) {
  if (const auto found = by_name_.find(name.text()); found != by_name_.end()) ++found->second->pins;
}

void NameTable::Unpin(const HostName& name) {
  const auto found = by_name_.find(name.text());
  if (found != by_name_.end() && found->second->pins > 0) --found->second->pins;
}

IpAddress NameTable::AddressOf(uint32_t number, Family family) const {
  if (family == Family::kV4) return IpAddress::V4(V4Range().address().v4_number() + number);
  std::array<uint8_t, 16> bytes{};
  std::copy(v6_prefix_.begin(), v6_prefix_.end(), bytes.begin());
  for (size_t i = 0; i < 4; ++i) bytes[15 - i] = static_cast<uint8_t>(number >> (8 * i));
  return IpAddress::V6(std::span<const uint8_t, 16>(bytes));
}

std::optional<uint32_t> NameTable::NumberOf(const IpAddress& address) const {
  if (!IsSynthetic(address)) return std::nullopt;
  if (address.is_v4()) return address.v4_number() - V4Range().address().v4_number();
  const auto bytes = address.bytes();
  if (std::any_of(bytes.begin() + 8, bytes.begin() + 12, [](uint8_t byte) { return byte != 0; })) {
    return std::nullopt;
  }
  uint32_t number = 0;
  for (size_t i = 12; i < 16; ++i) number = number << 8 | bytes[i];
  return number;
}

/// A number that is free. Fresh ones first; then those whose quarantine is over.
std::optional<uint32_t> NameTable::TakeNumber(Clock::time_point now) {
  if (used_numbers_ < kNumbers) {
    ++used_numbers_;
    const uint32_t number = next_;
    next_ = next_ == kNumbers ? kFirstNumber : next_ + 1;
    return number;
  }
  if (quarantine_.empty() || quarantine_.front().until > now) return std::nullopt;
  const uint32_t number = quarantine_.front().number;
  quarantine_.pop_front();
  return number;
}

bool NameTable::MakeRoom(Kind kind, Clock::time_point now) {
  auto& list = ListOf(kind);
  if (list.size() < (kind == Kind::kGranted ? limits_.granted : limits_.unlisted)) return true;
  const auto victim =
      std::find_if(list.begin(), list.end(), [](const Slot& slot) { return slot.pins == 0; });
  if (victim == list.end()) return false;
  quarantine_.push_back({victim->number, now + limits_.quarantine});
  by_name_.erase(victim->entry.name.text());
  by_number_.erase(victim->number);
  list.erase(victim);
  return true;
}

void NameTable::Touch(Slots::iterator slot) {
  auto& list = ListOf(slot->entry.kind);
  list.splice(list.end(), list, slot);
}

}  // namespace sallyport::policy
