#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ip_address.h"

namespace sallyport {

/// What an address is for, by the IANA special-purpose registries and the known metadata services
/// of clouds. Everything that is not kPublic is special and refused unless a policy names it.
enum class AddressClass : uint16_t {
  kPublic = 1 << 0,
  kPrivate = 1 << 1,        ///< RFC 1918, ULA fc00::/7, site-local fec0::/10, CGNAT 100.64/10.
  kLoopback = 1 << 2,       ///< 127/8, ::1.
  kLinkLocal = 1 << 3,      ///< 169.254/16, fe80::/10.
  kMetadata = 1 << 4,       ///< A cloud's metadata or credential service, wherever it lives.
  kMulticast = 1 << 5,      ///< 224/4, ff00::/8.
  kBroadcast = 1 << 6,      ///< 255.255.255.255.
  kDocumentation = 1 << 7,  ///< 192.0.2/24, 198.51.100/24, 203.0.113/24, 2001:db8::/32, 3fff::/20.
  kReserved = 1 << 8,       ///< 0/8, ::, 192.0.0/24, 198.18/15, 240/4, 100::/64, 2001:2::/48, ...
};

/// The class of ADDRESS. An IPv6 address that embeds an IPv4 one (::ffff:0:0/96, ::/96,
/// ::ffff:0:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48, 2002::/16, 2001::/32 Teredo, ISATAP) has the class
/// of what it embeds: NAT64 of a public address is public, of a private one is private.
/// Where several apply, metadata wins, then the more dangerous one.
AddressClass Classify(const IpAddress& address);

/// The IPv4 address that an IPv4-mapped one (::ffff:0:0/96) stands for, which the host's sockets
/// take for the same thing; any other address as it is.
IpAddress Unmapped(const IpAddress& address);

/// Every IPv4 address that ADDRESS embeds in one of the forms above; none for most.
std::vector<IpAddress> EmbeddedV4(const IpAddress& address);

/// "public", "private", "loopback", "link-local", "metadata", "multicast", "broadcast",
/// "documentation", "reserved": the groups of the policy language.
std::string_view ToString(AddressClass address_class);
std::optional<AddressClass> ParseAddressClass(std::string_view text);

/// The classes, as a set of bits, of the addresses in PREFIX. More than there are for some IPv6 prefixes
/// in which addresses embed IPv4 ones.
uint16_t ClassesIn(const Prefix& prefix);
/// Whether who grants PREFIX, which has ADDRESS, means ADDRESS too: it is public, or PREFIX lies within
/// the special range that makes it what it is. "0.0.0.0/0" grants no private address, "169.254.0.0/16"
/// no metadata service.
bool Grants(const Prefix& prefix, const IpAddress& address);

/// Which addresses a destination may have.
struct AddressFilter {
  uint16_t classes = static_cast<uint16_t>(AddressClass::kPublic);  ///< A set of AddressClass bits.
  std::vector<Prefix> prefixes;                                     ///< Allowed besides.
  bool names_none = false;  ///< Nobody wrote the prefixes: Names() is false.

  /// Prefixes are compared with the address itself, and with what an IPv4-mapped one stands for.
  ///
  /// A name's addresses: public ones, and what a rule's `resolves_to` adds; never loopback,
  /// link-local or metadata, whatever stands in this filter.
  bool AdmitsForName(const IpAddress& address) const;
  /// Any address that the filter grants (see Grants), without that exception: for `ip` rules and `to`.
  bool Admits(const IpAddress& address) const;
  /// Any address that the filter has, in however wide a prefix: for what is denied.
  bool Has(const IpAddress& address) const;

  /// Whether a prefix is exactly ADDRESS: what grants an address of the host itself, which groups and
  /// wider prefixes don't.
  bool Names(const IpAddress& address) const;

  bool operator==(const AddressFilter&) const = default;
};

}  // namespace sallyport
