#include "base/no_proxy.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "base/address_class.h"

namespace sallyport {
namespace {

Prefix Alone(const IpAddress& address) {
  return Prefix(address, address.is_v4() ? 32 : 128);
}

/// "PORT", from 1 to 65535.
std::optional<uint16_t> ReadPort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

}  // namespace

Result<NoProxy::Entry> NoProxy::Read(std::string_view text) {
  Entry entry;
  if ((entry.prefix = Prefix::Parse(text))) return entry;
  if (text.starts_with('[') && text.ends_with(']')) {
    const auto address = IpAddress::Parse(text.substr(1, text.size() - 2));
    if (address && address->is_v6()) {
      entry.prefix = Alone(*address);
      return entry;
    }
  }
  if (const auto endpoint = Endpoint::Parse(text); endpoint && endpoint->port != 0) {
    entry.prefix = Alone(endpoint->address);
    entry.port = endpoint->port;
    return entry;
  }
  if (const size_t colon = text.rfind(':'); colon != text.npos) {
    const auto port = ReadPort(text.substr(colon + 1));
    if (!port) return Fail(Code::kInvalid, "what follows the colon is no port");
    entry.port = *port;
    text = text.substr(0, colon);
  }
  auto name = HostPattern::Parse(text);
  if (!name) return tl::unexpected(std::move(name).error());
  entry.name = *std::move(name);
  return entry;
}

void NoProxy::Keep(Entry entry) {
  if (entries_.size() < kMaxEntries) entries_.push_back(std::move(entry));
}

Status NoProxy::Add(std::string_view text) {
  if (text == "*") {
    all_ = true;
    return {};
  }
  if (entries_.size() >= kMaxEntries) return Fail(Code::kLimit, "more than 4096 entries");
  auto entry = Read(text);
  if (!entry) return tl::unexpected(std::move(entry).error());
  Keep(*std::move(entry));
  return {};
}

void NoProxy::AddVariable(std::string_view text) {
  constexpr std::string_view kBetween = ", \t\r\n";
  while (!text.empty() && entries_.size() < kMaxEntries) {
    const size_t size = std::min(text.find_first_of(kBetween), text.size());
    std::string_view item = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    all_ |= item == "*";
    if (item.starts_with('.')) item.remove_prefix(1);
    auto entry = Read(item);
    if (!entry) continue;
    Entry below = *entry;
    Keep(*std::move(entry));
    if (!below.name || below.name->is_wildcard()) continue;
    auto pattern = HostPattern::Parse("*." + below.name->ToString());
    if (!pattern) continue;
    below.name = *std::move(pattern);
    Keep(std::move(below));
  }
}

bool NoProxy::Matches(const Host& host, uint16_t port) const {
  const auto* name = std::get_if<HostName>(&host);
  const auto matches = [&](const Entry& entry) {
    if (entry.port != 0 && entry.port != port) return false;
    if (name != nullptr) return entry.name && entry.name->Matches(*name);
    if (!entry.prefix) return false;
    const auto& address = std::get<IpAddress>(host);
    return entry.prefix->Contains(address) || entry.prefix->Contains(Unmapped(address));
  };
  return all_ || std::any_of(entries_.begin(), entries_.end(), matches);
}

}  // namespace sallyport
