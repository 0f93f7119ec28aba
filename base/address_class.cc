#include "base/address_class.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

// Two tables, from the IANA special-purpose address registries and the documentation of clouds; the
// most specific row that contains an address decides. IPv6 outside 2000::/3 is not global unicast,
// so what no row names there is reserved. An address that embeds IPv4 is judged by what it embeds.

namespace sallyport {
namespace {

using enum AddressClass;

struct V4Range {
  uint32_t address;
  unsigned length;
  AddressClass address_class;
};

constexpr uint32_t Number(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  return uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d;
}

// First match decides: the narrow rows stand before the wide ones.
constexpr V4Range kV4Ranges[] = {
    {Number(169, 254, 169, 254), 32, kMetadata},  // Most clouds.
    {Number(169, 254, 170, 2), 32, kMetadata},    // AWS ECS credentials.
    {Number(169, 254, 170, 23), 32, kMetadata},   // AWS EKS pod identity.
    {Number(169, 254, 42, 42), 32, kMetadata},    // Scaleway.
    {Number(169, 254, 0, 23), 32, kMetadata},     // Tencent.
    {Number(100, 100, 100, 200), 32, kMetadata},  // Alibaba.
    {Number(168, 63, 129, 16), 32, kMetadata},    // Azure.
    {Number(192, 0, 0, 192), 32, kMetadata},      // Oracle.
    {Number(255, 255, 255, 255), 32, kBroadcast},
    {Number(0, 0, 0, 0), 8, kReserved},
    {Number(10, 0, 0, 0), 8, kPrivate},
    {Number(100, 64, 0, 0), 10, kPrivate},  // Carrier-grade NAT.
    {Number(127, 0, 0, 0), 8, kLoopback},
    {Number(169, 254, 0, 0), 16, kLinkLocal},
    {Number(172, 16, 0, 0), 12, kPrivate},
    {Number(192, 0, 0, 0), 24, kReserved},  // IETF protocol assignments.
    {Number(192, 0, 2, 0), 24, kDocumentation},
    {Number(192, 88, 99, 0), 24, kReserved},  // The old 6to4 relay anycast.
    {Number(192, 168, 0, 0), 16, kPrivate},
    {Number(198, 18, 0, 0), 15, kReserved},  // Benchmarking; the gate's synthetic addresses.
    {Number(198, 51, 100, 0), 24, kDocumentation},
    {Number(203, 0, 113, 0), 24, kDocumentation},
    {Number(224, 0, 0, 0), 4, kMulticast},
    {Number(240, 0, 0, 0), 4, kReserved},
};

struct V6Range {
  std::array<uint16_t, 8> groups;
  unsigned length;
  AddressClass address_class;
};

constexpr V6Range kV6Ranges[] = {
    {{0xfd00, 0x0ec2}, 32, kMetadata},                               // AWS, all of its services.
    {{0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254}, 128, kMetadata},       // Google.
    {{0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe}, 128, kMetadata},  // Oracle.
    {{0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042}, 128, kMetadata},       // Scaleway.
    {{0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1}, 128, kMetadata},       // IBM.
    {{0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200}, 128, kMetadata},  // Alibaba.
    {{0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe}, 128, kMetadata},       // OpenStack.
    {{0, 0, 0, 0, 0, 0, 0, 1}, 128, kLoopback},
    {{}, 128, kReserved},  // Unspecified.
    {{0xfe80}, 10, kLinkLocal},
    {{0xfec0}, 10, kPrivate},  // Site-local.
    {{0xfc00}, 7, kPrivate},   // Unique local.
    {{0xff00}, 8, kMulticast},
    {{0x2001, 0x0db8}, 32, kDocumentation},
    {{0x3fff}, 20, kDocumentation},
    {{0x2001}, 23, kReserved},  // IETF protocol assignments: benchmarking, ORCHID, Teredo, ...
    {{0x2000}, 3, kPublic},
};

// The more dangerous one decides where several classes apply.
unsigned Danger(AddressClass address_class) {
  static constexpr AddressClass kRising[] = {kPublic,    kDocumentation, kReserved,
                                             kBroadcast, kMulticast,     kPrivate,
                                             kLinkLocal, kLoopback,      kMetadata};
  return static_cast<unsigned>(std::find(std::begin(kRising), std::end(kRising), address_class) -
                               std::begin(kRising));
}

AddressClass Worse(AddressClass a, AddressClass b) {
  return Danger(a) >= Danger(b) ? a : b;
}

AddressClass ClassifyV4(uint32_t address) {
  for (const V4Range& range : kV4Ranges) {
    if ((address ^ range.address) >> (32 - range.length) == 0) return range.address_class;
  }
  return kPublic;
}

using V6Bytes = std::span<const uint8_t>;

bool HasPrefix(V6Bytes bytes, const V6Range& range) {
  for (unsigned bit = 0; bit < range.length; bit += 8) {
    const unsigned kept = std::min(range.length - bit, 8u);
    const uint16_t group = range.groups[bit / 16];
    const auto wanted = static_cast<uint8_t>(bit % 16 == 0 ? group >> 8 : group & 0xff);
    if ((bytes[bit / 8] ^ wanted) >> (8 - kept) != 0) return false;
  }
  return true;
}

AddressClass ClassifyV6Range(V6Bytes bytes) {
  for (const V6Range& range : kV6Ranges) {
    if (HasPrefix(bytes, range)) return range.address_class;
  }
  return kReserved;
}

bool AllZero(V6Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

IpAddress V4At(V6Bytes bytes, size_t a, size_t b, size_t c, size_t d) {
  return IpAddress::V4(bytes[a], bytes[b], bytes[c], bytes[d]);
}

bool IsMapped(V6Bytes bytes) {
  return AllZero(bytes.first(10)) && bytes[10] == 0xff && bytes[11] == 0xff;
}

// Forms that hold nothing but an IPv4 address in their last 32 bits.
bool IsWrapping(V6Bytes bytes) {
  if (AllZero(bytes.first(12))) return true;  // ::/96; :: and ::1 are sorted out before.
  if (IsMapped(bytes)) return true;
  if (AllZero(bytes.first(8)) && bytes[8] == 0xff && bytes[9] == 0xff &&
      AllZero(bytes.subspan(10, 2))) {
    return true;  // ::ffff:0:0:0/96, RFC 2765.
  }
  static constexpr V6Range kNat64{{0x0064, 0xff9b}, 96, kPublic};
  return HasPrefix(bytes, kNat64);
}

bool IsLocalNat64(V6Bytes bytes) {
  static constexpr V6Range kRange{{0x0064, 0xff9b, 0x0001}, 48, kPublic};
  return HasPrefix(bytes, kRange);
}

bool Is6to4(V6Bytes bytes) {
  return bytes[0] == 0x20 && bytes[1] == 0x02;
}

bool IsTeredo(V6Bytes bytes) {
  static constexpr V6Range kRange{{0x2001, 0}, 32, kPublic};
  return HasPrefix(bytes, kRange);
}

bool IsIsatap(V6Bytes bytes) {
  return (bytes[8] == 0 || bytes[8] == 2) && bytes[9] == 0 && bytes[10] == 0x5e &&
         bytes[11] == 0xfe;
}

// RFC 6052 places the address by the length of the prefix, which the address does not tell. With
// nothing but zeros between, the prefix has 96 bits; otherwise every reading counts.
void AddLocalNat64(V6Bytes bytes, std::vector<IpAddress>& found) {
  found.push_back(V4At(bytes, 12, 13, 14, 15));
  if (AllZero(bytes.subspan(6, 6))) return;
  found.push_back(V4At(bytes, 6, 7, 9, 10));
  found.push_back(V4At(bytes, 7, 9, 10, 11));
  found.push_back(V4At(bytes, 9, 10, 11, 12));
}

void AddTeredo(V6Bytes bytes, std::vector<IpAddress>& found) {
  found.push_back(V4At(bytes, 4, 5, 6, 7));  // The server.
  const auto inverted = [bytes](size_t i) { return static_cast<uint8_t>(~bytes[i]); };
  found.push_back(IpAddress::V4(inverted(12), inverted(13), inverted(14), inverted(15)));
}

// Whether ADDRESS means nothing beside the IPv4 addresses in it, so that they alone decide.
bool IsOnlyEmbedding(V6Bytes bytes) {
  return IsWrapping(bytes) || IsLocalNat64(bytes) || Is6to4(bytes) || IsTeredo(bytes);
}

AddressClass ClassifyV6(const IpAddress& address) {
  const V6Bytes bytes = address.bytes();
  const AddressClass own = ClassifyV6Range(bytes);
  if (AllZero(bytes.first(15)) && bytes[15] <= 1) return own;
  AddressClass worst = IsOnlyEmbedding(bytes) ? kPublic : own;
  for (const IpAddress& embedded : EmbeddedV4(address)) {
    worst = Worse(ClassifyV4(embedded.v4_number()), worst);
  }
  return worst;
}

bool AnyContains(const std::vector<Prefix>& prefixes, const IpAddress& address) {
  const IpAddress unmapped = Unmapped(address);
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& prefix) {
    return prefix.Contains(address) || prefix.Contains(unmapped);
  });
}

bool AnyGrants(const std::vector<Prefix>& prefixes, const IpAddress& address) {
  const IpAddress unmapped = Unmapped(address);
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& prefix) {
    return (prefix.Contains(address) && Grants(prefix, address)) ||
           (prefix.Contains(unmapped) && Grants(prefix, unmapped));
  });
}

// How many bits the special range has that ADDRESS gets its class from; 0 for a public one.
unsigned RangeLengthV4(uint32_t address) {
  for (const V4Range& range : kV4Ranges) {
    if ((address ^ range.address) >> (32 - range.length) == 0) return range.length;
  }
  return 0;
}

unsigned RangeLengthV6(V6Bytes bytes) {
  for (const V6Range& range : kV6Ranges) {
    if (HasPrefix(bytes, range)) return range.length;
  }
  return 3;  // Reserved for being outside of 2000::/3, one of eight such parts.
}

constexpr uint16_t BitOf(AddressClass address_class) {
  return static_cast<uint16_t>(address_class);
}

uint16_t ClassesInV4(uint32_t address, unsigned length) {
  uint16_t classes = 0;
  for (const V4Range& range : kV4Ranges) {
    const unsigned shared = std::min(length, range.length);
    if (shared != 0 && (address ^ range.address) >> (32 - shared) != 0) continue;
    classes = static_cast<uint16_t>(classes | BitOf(range.address_class));
    if (range.length <= length) return classes;  // The prefix lies within.
  }
  return static_cast<uint16_t>(classes | BitOf(kPublic));
}

bool SharesPrefix(V6Bytes bytes, const V6Range& range, unsigned length) {
  return HasPrefix(bytes, {range.groups, std::min(length, range.length), range.address_class});
}

uint16_t ClassesInV6(V6Bytes bytes, unsigned length) {
  uint16_t classes = 0;
  for (const V6Range& range : kV6Ranges) {
    if (!SharesPrefix(bytes, range, length)) continue;
    classes = static_cast<uint16_t>(classes | BitOf(range.address_class));
    if (range.length <= length) return classes;
  }
  return static_cast<uint16_t>(classes | BitOf(kReserved));
}

constexpr std::pair<AddressClass, std::string_view> kNames[] = {
    {kPublic, "public"},       {kPrivate, "private"},
    {kLoopback, "loopback"},   {kLinkLocal, "link-local"},
    {kMetadata, "metadata"},   {kMulticast, "multicast"},
    {kBroadcast, "broadcast"}, {kDocumentation, "documentation"},
    {kReserved, "reserved"},
};

}  // namespace

AddressClass Classify(const IpAddress& address) {
  return address.is_v4() ? ClassifyV4(address.v4_number()) : ClassifyV6(address);
}

IpAddress Unmapped(const IpAddress& address) {
  if (address.is_v4() || !IsMapped(address.bytes())) return address;
  return V4At(address.bytes(), 12, 13, 14, 15);
}

std::vector<IpAddress> EmbeddedV4(const IpAddress& address) {
  std::vector<IpAddress> found;
  if (address.is_v4()) return found;
  const V6Bytes bytes = address.bytes();
  if (IsWrapping(bytes)) found.push_back(V4At(bytes, 12, 13, 14, 15));
  if (IsLocalNat64(bytes)) AddLocalNat64(bytes, found);
  if (Is6to4(bytes)) found.push_back(V4At(bytes, 2, 3, 4, 5));
  if (IsTeredo(bytes)) AddTeredo(bytes, found);
  if (IsIsatap(bytes)) found.push_back(V4At(bytes, 12, 13, 14, 15));
  return found;
}

std::string_view ToString(AddressClass address_class) {
  for (const auto& [value, name] : kNames) {
    if (value == address_class) return name;
  }
  return "unknown";
}

std::optional<AddressClass> ParseAddressClass(std::string_view text) {
  for (const auto& [value, name] : kNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

bool AddressFilter::AdmitsForName(const IpAddress& address) const {
  constexpr uint16_t kNever = static_cast<uint16_t>(kLoopback) | static_cast<uint16_t>(kLinkLocal) |
                              static_cast<uint16_t>(kMetadata);
  const auto bit = static_cast<uint16_t>(Classify(address));
  if ((bit & kNever) != 0) return false;
  if (bit == static_cast<uint16_t>(kPublic)) return true;
  return (bit & classes) != 0 || AnyGrants(prefixes, address);
}

bool AddressFilter::Names(const IpAddress& address) const {
  const IpAddress plain = Unmapped(address);
  return !names_none && std::any_of(prefixes.begin(), prefixes.end(), [&](const Prefix& prefix) {
    return prefix.length() == prefix.address().bytes().size() * 8 && Unmapped(prefix.address()) == plain;
  });
}

bool AddressFilter::Admits(const IpAddress& address) const {
  return (static_cast<uint16_t>(Classify(address)) & classes) != 0 || AnyGrants(prefixes, address);
}

bool AddressFilter::Has(const IpAddress& address) const {
  return (static_cast<uint16_t>(Classify(address)) & classes) != 0 ||
         AnyContains(prefixes, address);
}

uint16_t ClassesIn(const Prefix& prefix) {
  const IpAddress& address = prefix.address();
  if (address.is_v4()) return ClassesInV4(address.v4_number(), prefix.length());
  const V6Bytes bytes = address.bytes();
  if (prefix.length() == 128) return BitOf(Classify(address));
  const bool loopback = AllZero(bytes.first(15)) && bytes[15] <= 1;
  if (IsWrapping(bytes) && prefix.length() >= 96) {
    const IpAddress inner = V4At(bytes, 12, 13, 14, 15);
    const uint16_t own = loopback ? BitOf(kLoopback) : uint16_t{0};
    return static_cast<uint16_t>(own | ClassesInV4(inner.v4_number(), prefix.length() - 96));
  }
  if (Is6to4(bytes) && prefix.length() >= 16)
    return ClassesInV4(V4At(bytes, 2, 3, 4, 5).v4_number(), std::min(prefix.length() - 16, 32u));
  if (IsOnlyEmbedding(bytes)) return UINT16_MAX;
  return ClassesInV6(bytes, prefix.length());
}

bool Grants(const Prefix& prefix, const IpAddress& address) {
  const AddressClass address_class = Classify(address);
  if (address_class == kPublic) return true;
  if (address.is_v4()) return prefix.length() >= RangeLengthV4(address.v4_number());
  if (prefix.length() == 128) return true;
  const V6Bytes bytes = address.bytes();
  if (AllZero(bytes.first(15)) && bytes[15] <= 1) return false;
  if (IsWrapping(bytes))
    return prefix.length() >= 96 + RangeLengthV4(V4At(bytes, 12, 13, 14, 15).v4_number());
  if (Is6to4(bytes))
    return prefix.length() >= 16 + RangeLengthV4(V4At(bytes, 2, 3, 4, 5).v4_number());
  // What another form embeds is special: only the address itself means it.
  if (IsOnlyEmbedding(bytes) || ClassifyV6Range(bytes) != address_class) return false;
  return prefix.length() >= RangeLengthV6(bytes);
}

}  // namespace sallyport
