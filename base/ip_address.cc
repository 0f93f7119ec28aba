#include "base/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/check.h"

namespace sallyport {

IpAddress IpAddress::V4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  const std::array<uint8_t, 4> bytes{a, b, c, d};
  return V4(std::span(bytes));
}

IpAddress IpAddress::V4(std::span<const uint8_t, 4> bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

IpAddress IpAddress::V4(uint32_t host_order) {
  return V4(static_cast<uint8_t>(host_order >> 24), static_cast<uint8_t>(host_order >> 16),
            static_cast<uint8_t>(host_order >> 8), static_cast<uint8_t>(host_order));
}

IpAddress IpAddress::V6(std::span<const uint8_t, 16> bytes) {
  IpAddress address;
  address.v4_ = false;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  return address;
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.empty() || text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  if (text.find('\0') != text.npos) return std::nullopt;
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes_.data()) == 1) return address;
  address.v4_ = false;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes_.data()) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::FromSockaddr(const sockaddr_storage& address) {
  const auto endpoint = Endpoint::FromSockaddr(address);
  if (!endpoint) return std::nullopt;
  return endpoint->address;
}

uint32_t IpAddress::v4_number() const {
  SALLYPORT_CHECK(v4_);
  return uint32_t{bytes_[0]} << 24 | uint32_t{bytes_[1]} << 16 | uint32_t{bytes_[2]} << 8 |
         bytes_[3];
}

std::string IpAddress::ToString() const {
  std::array<char, INET6_ADDRSTRLEN> text;
  inet_ntop(v4_ ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

std::string Endpoint::ToString() const {
  const std::string port_text = std::to_string(port);
  if (address.is_v4()) return address.ToString() + ":" + port_text;
  return "[" + address.ToString() + "]:" + port_text;
}

std::optional<Endpoint> Endpoint::Parse(std::string_view text, uint16_t default_port) {
  std::string_view host = text;
  std::string_view port_text;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == text.npos) return std::nullopt;
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return std::nullopt;
    port_text = rest.empty() ? rest : rest.substr(1);
    if (!rest.empty() && port_text.empty()) return std::nullopt;
    if (host.find(':') == host.npos) return std::nullopt;
  } else if (const size_t colon = text.find(':');
             colon != text.npos && text.find(':', colon + 1) == text.npos) {
    host = text.substr(0, colon);
    port_text = text.substr(colon + 1);
    if (port_text.empty()) return std::nullopt;
  }
  const auto address = IpAddress::Parse(host);
  if (!address) return std::nullopt;
  if (port_text.empty()) {
    if (default_port == 0) return std::nullopt;
    return Endpoint{*address, default_port};
  }
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(port_text.begin(), port_text.end(), port);
  if (error != std::errc() || end != port_text.end() || port == 0) return std::nullopt;
  return Endpoint{*address, port};
}

socklen_t Endpoint::ToSockaddr(sockaddr_storage& storage) const {
  storage = {};
  if (address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes().data(), 4);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
  return sizeof v6;
}

std::optional<Endpoint> Endpoint::FromSockaddr(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    return Endpoint{IpAddress::V4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    return Endpoint{IpAddress::V6(std::span<const uint8_t, 16>(v6.sin6_addr.s6_addr, 16)),
                    ntohs(v6.sin6_port)};
  }
  return std::nullopt;
}

namespace {

IpAddress ClearBitsPast(const IpAddress& address, unsigned length) {
  std::array<uint8_t, 16> bytes{};
  const auto from = address.bytes();
  for (size_t i = 0; i < from.size(); ++i) {
    const unsigned before = static_cast<unsigned>(i * 8);
    const unsigned kept = std::min(length - std::min(length, before), 8u);
    bytes[i] = static_cast<uint8_t>(from[i] & (0xff00u >> kept));
  }
  if (address.is_v4()) return IpAddress::V4(std::span<const uint8_t, 4>(bytes.data(), 4));
  return IpAddress::V6(std::span<const uint8_t, 16>(bytes));
}

}  // namespace

Prefix::Prefix(const IpAddress& address, unsigned length)
    : address_(ClearBitsPast(address, length)), length_(length) {
  SALLYPORT_CHECK(length <= address.bytes().size() * 8);
}

std::optional<Prefix> Prefix::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned bits = static_cast<unsigned>(address->bytes().size() * 8);
  if (slash == text.npos) return Prefix(*address, bits);
  const std::string_view length_text = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(length_text.begin(), length_text.end(), length);
  if (error != std::errc() || end != length_text.end() || length > bits) return std::nullopt;
  const Prefix prefix(*address, length);
  if (prefix.address() != *address) return std::nullopt;
  return prefix;
}

bool Prefix::Contains(const IpAddress& address) const {
  if (address.is_v4() != address_.is_v4()) return false;
  return ClearBitsPast(address, length_) == address_;
}

bool Prefix::Contains(const Prefix& other) const {
  return other.length_ >= length_ && Contains(other.address_);
}

std::string Prefix::ToString() const {
  return address_.ToString() + "/" + std::to_string(length_);
}

uint64_t HashAddress(const IpAddress& address, uint64_t seed) {
  uint64_t words[2] = {0, 0};
  std::memcpy(words, address.bytes().data(), address.bytes().size());
  uint64_t hash = seed;
  for (const uint64_t word : words) {
    hash ^= word;
    hash *= 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace sallyport
