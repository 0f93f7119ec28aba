#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/ip_address.h"
#include "base/result.h"

namespace sallyport {

/// A host name in its one canonical form: lower case, A-labels (IDNA 2008, UTS 46), no trailing
/// dot, 1 to 253 bytes, each label 1 to 63 bytes of letters, digits, '-' and '_'. Everything that
/// compares, looks up or dials a name uses this form, so what was matched is what is dialled.
class HostName {
 public:
  /// Canonicalises TEXT. kInvalid for an empty or overlong name, NUL, control characters, space,
  /// '@', '\\', '/', '%', ':' or brackets, an empty label, and for every spelling of an IP address
  /// that a resolver would accept (dotted, "0x7f.1", "2130706433", "0177.0.0.1", bracketed or bare
  /// IPv6, with or without a zone): see ParseHost.
  static Result<HostName> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  /// Whether this name lies below ZONE, at any depth; not when they are equal.
  bool IsBelow(const HostName& zone) const;
  /// The name without its first label; nothing for a single label.
  std::optional<HostName> Parent() const;

  auto operator<=>(const HostName&) const = default;

 private:
  explicit HostName(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// What a host in a URL, a Host header or a policy can be.
using Host = std::variant<HostName, IpAddress>;

/// Canonicalises a host as it stands in an authority: a name, an IPv4 address in any inet_aton
/// spelling, or a bracketed IPv6 address (a zone is refused). kInvalid for anything else.
Result<Host> ParseHost(std::string_view text);

/// The canonical text of a host: brackets around IPv6.
std::string ToString(const Host& host);

/// A host and the port that stands with it, if one does.
struct Authority {
  Host host;
  std::optional<uint16_t> port;
};

/// Splits and canonicalises "host", "host:port", "[v6]:port". kInvalid for user information, an
/// empty or zero port, or a host that ParseHost refuses.
Result<Authority> ParseAuthority(std::string_view text);

/// A pattern over host names, as users write it: "api.example.com" is that name, "*.example.com"
/// is every name below it, at any depth, but not example.com itself; Any() is every name.
class HostPattern {
 public:
  /// kInvalid with a message that says what to write instead, for a wildcard anywhere but as the
  /// whole first label, and for anything that HostName::Parse refuses.
  static Result<HostPattern> Parse(std::string_view text);
  static HostPattern Any();

  bool Matches(const HostName& name) const;
  /// Whether every name that OTHER matches is matched by this one too.
  bool Covers(const HostPattern& other) const;
  bool is_any() const { return kind_ == Kind::kAny; }
  bool is_wildcard() const { return kind_ == Kind::kBelow; }
  /// The name itself, or the zone of a wildcard; nothing for Any().
  const std::optional<HostName>& name() const { return name_; }
  /// As users write it: "api.example.com", "*.example.com", "any".
  std::string ToString() const;

  bool operator==(const HostPattern&) const = default;

 private:
  enum class Kind { kExact, kBelow, kAny };
  HostPattern(Kind kind, std::optional<HostName> name) : kind_(kind), name_(std::move(name)) {}
  Kind kind_;
  std::optional<HostName> name_;
};

/// Whether NAME is a public suffix ("com", "co.uk", "github.io"), after which a wildcard would
/// span names of different owners. From the system's public suffix list (libpsl).
bool IsPublicSuffix(const HostName& name);

}  // namespace sallyport
