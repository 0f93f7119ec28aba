#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sallyport {

/// An IPv4 or IPv6 address. No zone: a scoped address is not one we talk to.
class IpAddress {
 public:
  /// 0.0.0.0.
  IpAddress() = default;
  static IpAddress V4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
  /// From 4 bytes in network order.
  static IpAddress V4(std::span<const uint8_t, 4> bytes);
  /// From a number in host order: 0x7f000001 is 127.0.0.1.
  static IpAddress V4(uint32_t host_order);
  /// From 16 bytes in network order.
  static IpAddress V6(std::span<const uint8_t, 16> bytes);

  /// Reads the strict textual form: four decimal numbers, or RFC 4291 for IPv6
  /// (no brackets, no zone). Other spellings that resolvers accept ("0x7f.1")
  /// are not addresses here; see host_name.h.
  static std::optional<IpAddress> Parse(std::string_view text);
  static std::optional<IpAddress> FromSockaddr(const sockaddr_storage& address);

  bool is_v4() const { return v4_; }
  bool is_v6() const { return !v4_; }
  /// 4 or 16 bytes in network order.
  std::span<const uint8_t> bytes() const { return {bytes_.data(), v4_ ? 4u : 16u}; }
  /// Host order; only for IPv4.
  uint32_t v4_number() const;

  /// "192.0.2.1", or the RFC 5952 form of IPv6.
  std::string ToString() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  bool v4_ = true;
  std::array<uint8_t, 16> bytes_{};  // Unused bytes of an IPv4 address are zero.
};

/// An address and a port.
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;

  /// "192.0.2.1:443", "[2001:db8::1]:443".
  std::string ToString() const;
  /// Reads what ToString writes; the port may be left out when DEFAULT_PORT is not 0.
  static std::optional<Endpoint> Parse(std::string_view text, uint16_t default_port = 0);
  /// Fills STORAGE and returns the length to pass to the kernel.
  socklen_t ToSockaddr(sockaddr_storage& storage) const;
  static std::optional<Endpoint> FromSockaddr(const sockaddr_storage& address);

  auto operator<=>(const Endpoint&) const = default;
};

/// The addresses that share a prefix, as in "10.0.0.0/8".
class Prefix {
 public:
  /// LENGTH in bits, at most 32 or 128; bits of ADDRESS past it are cleared.
  Prefix(const IpAddress& address, unsigned length);
  /// Reads "10.0.0.0/8" or a lone address. Bits set past the length are refused.
  static std::optional<Prefix> Parse(std::string_view text);

  bool Contains(const IpAddress& address) const;
  /// Whether every address of OTHER is in this prefix.
  bool Contains(const Prefix& other) const;
  const IpAddress& address() const { return address_; }
  unsigned length() const { return length_; }
  std::string ToString() const;

  auto operator<=>(const Prefix&) const = default;

 private:
  IpAddress address_;
  unsigned length_;
};

/// For hash tables; seeded by the caller against a guest that picks addresses.
uint64_t HashAddress(const IpAddress& address, uint64_t seed);

}  // namespace sallyport
