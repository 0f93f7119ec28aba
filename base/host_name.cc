#include "base/host_name.h"

#include <idn2.h>
#include <libpsl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

// A name is turned into ASCII first (lower case, or UTS 46 mapping where it is not ASCII already),
// and everything else is decided on that form: whether it is an address in disguise ("127。1" is
// one), whether its characters and lengths are allowed. Nothing is repaired but case, a trailing
// dot and what UTS 46 maps.

namespace sallyport {
namespace {

constexpr size_t kMaxName = 253;  // RFC 1035's 255 bytes on the wire, as text without the last dot.
constexpr size_t kMaxLabel = 63;
constexpr size_t kMaxInput = 1024;  // 253 characters of UTF-8, with room for what mapping removes.

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

constexpr bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsHexDigit(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// What may stand in a name in its ASCII form, lower case; a dot separates labels.
constexpr bool IsNameCharacter(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.';
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// TEXT for a message: shortened, with everything that is not printable ASCII escaped.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 80;
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "'";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      quoted += c;
    } else {
      quoted.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  if (text.size() > kShown) quoted += "...";
  return quoted + "'";
}

tl::unexpected<Error> Refuse(std::string_view text, std::string_view why) {
  return Fail(Code::kInvalid, Quoted(text) + " is not a host name: " + std::string(why));
}

// The ASCII form of TEXT, lower case and without a trailing dot; not yet checked further.
Result<std::string> ToAscii(std::string_view text) {
  if (text.empty()) return Refuse(text, "it is empty");
  if (text.size() > kMaxInput) return Refuse(text, "it is too long");
  std::string ascii;
  if (IsAscii(text)) {
    ascii = Lower(text);
  } else {
    // Before mapping: compatibility forms of these ("／", "＠") become them by it, which the check
    // of the ASCII form refuses; a NUL would end the C string early.
    if (text.find('\0') != text.npos) return Refuse(text, "it has a NUL");
    uint8_t* mapped = nullptr;
    const std::string terminated(text);
    const int error = idn2_lookup_u8(reinterpret_cast<const uint8_t*>(terminated.c_str()), &mapped,
                                     IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (error != IDN2_OK) return Refuse(text, idn2_strerror(error));
    const std::unique_ptr<uint8_t, void (*)(void*)> owner(mapped, idn2_free);
    ascii = Lower(reinterpret_cast<const char*>(mapped));
  }
  if (ascii.ends_with('.')) ascii.pop_back();
  return ascii;
}

// Whether a resolver or a URL parser would read TEXT (ASCII, lower case) as an IPv4 address, or
// fail: its last label is a number.
bool EndsInNumber(std::string_view text) {
  const std::string_view last = text.substr(text.rfind('.') + 1);
  if (last.empty()) return false;
  if (std::all_of(last.begin(), last.end(), IsDigit)) return true;
  return last.starts_with("0x") && std::all_of(last.begin() + 2, last.end(), IsHexDigit);
}

std::optional<uint64_t> ParseAtonPart(std::string_view part) {
  int base = 10;
  if (part.starts_with("0x")) {
    base = 16;
    part.remove_prefix(2);
    if (part.empty()) return std::nullopt;
  } else if (part.size() > 1 && part.front() == '0') {
    base = 8;
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, base);
  if (part.empty() || error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  return value;
}

// inet_aton: one to four numbers, decimal, octal or hexadecimal; the last fills the bytes left.
std::optional<IpAddress> ParseAton(std::string_view text) {
  uint64_t address = 0;
  for (int part = 0; part < 4; ++part) {
    const size_t dot = text.find('.');
    const auto value = ParseAtonPart(text.substr(0, dot));
    if (!value) return std::nullopt;
    const int bytes_left = 4 - part;
    if (dot == text.npos) {
      if (*value >> (8 * bytes_left) != 0) return std::nullopt;
      return IpAddress::V4(static_cast<uint32_t>(address << (8 * bytes_left) | *value));
    }
    if (*value > 255) return std::nullopt;
    address = address << 8 | *value;
    text.remove_prefix(dot + 1);
  }
  return std::nullopt;
}

// The canonical form of TEXT, at one look, where it is plainly a name: ASCII without a trailing dot, its
// last label no number. Nothing for all else, which HostName::Parse looks at step by step.
std::optional<std::string> PlainName(std::string_view text) {
  static constexpr auto kLower = [] {
    std::array<char, 256> lower{};  // 0: stands in no name.
    for (size_t c = 0; c < 128; ++c) {
      const char letter = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
      if (IsNameCharacter(letter)) lower[c] = letter;
    }
    return lower;
  }();
  if (text.empty() || text.size() > kMaxName) return std::nullopt;
  std::string name(text);
  size_t label = 0;  // Where the last one starts.
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = kLower[static_cast<uint8_t>(name[i])];
    if (c == 0) return std::nullopt;
    name[i] = c;
    if (c != '.') continue;
    if (i == label || i - label > kMaxLabel) return std::nullopt;
    label = i + 1;
  }
  const size_t last = name.size() - label;
  if (last == 0 || last > kMaxLabel || IsDigit(name[label])) return std::nullopt;
  return name;
}

Status CheckCharacters(std::string_view text, std::string_view ascii) {
  for (const char c : ascii) {
    if (IsNameCharacter(c)) continue;
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) return Refuse(text, "it has a control character");
    return Refuse(text, std::string("it has a '") + c + "'");
  }
  return {};
}

Status CheckLabels(std::string_view text, std::string_view ascii) {
  if (ascii.empty()) return Refuse(text, "it is empty");
  if (ascii.size() > kMaxName) return Refuse(text, "it is longer than 253 bytes");
  while (true) {
    const size_t dot = ascii.find('.');
    const size_t length = std::min(dot, ascii.size());
    if (length == 0) return Refuse(text, "it has an empty label");
    if (length > kMaxLabel) return Refuse(text, "a label is longer than 63 bytes");
    if (dot == ascii.npos) return {};
    ascii.remove_prefix(dot + 1);
  }
}

}  // namespace

Result<HostName> HostName::Parse(std::string_view text) {
  if (auto plain = PlainName(text)) return HostName(*std::move(plain));
  auto ascii = ToAscii(text);
  if (!ascii) return tl::unexpected(std::move(ascii).error());
  if (auto status = CheckCharacters(text, *ascii); !status) {
    return tl::unexpected(std::move(status).error());
  }
  if (auto status = CheckLabels(text, *ascii); !status) {
    return tl::unexpected(std::move(status).error());
  }
  if (EndsInNumber(*ascii)) return Refuse(text, "it is read as an IP address");
  return HostName(*std::move(ascii));
}

bool HostName::IsBelow(const HostName& zone) const {
  const size_t length = zone.text_.size();
  return text_.size() > length + 1 && text_.ends_with(zone.text_) &&
         text_[text_.size() - length - 1] == '.';
}

std::optional<HostName> HostName::Parent() const {
  const size_t dot = text_.find('.');
  if (dot == text_.npos) return std::nullopt;
  // A lone number can't be left over: a name whose last label is one is no HostName.
  return HostName(text_.substr(dot + 1));
}

Result<Host> ParseHost(std::string_view text) {
  if (text.starts_with('[')) {
    if (text.size() < 2 || !text.ends_with(']')) return Refuse(text, "the ']' is missing");
    const std::string_view inner = text.substr(1, text.size() - 2);
    const auto address = IpAddress::Parse(inner);
    if (!address || address->is_v4()) return Refuse(text, "no IPv6 address stands in brackets");
    return Host(*address);
  }
  auto ascii = ToAscii(text);
  if (!ascii) return tl::unexpected(std::move(ascii).error());
  if (EndsInNumber(*ascii)) {
    const auto address = ParseAton(*ascii);
    if (!address) return Refuse(text, "it ends in a number but is no IPv4 address");
    return Host(*address);
  }
  auto name = HostName::Parse(text);
  if (!name) return tl::unexpected(std::move(name).error());
  return Host(*std::move(name));
}

std::string ToString(const Host& host) {
  if (const auto* name = std::get_if<HostName>(&host)) return name->text();
  const IpAddress& address = std::get<IpAddress>(host);
  return address.is_v6() ? "[" + address.ToString() + "]" : address.ToString();
}

Result<Authority> ParseAuthority(std::string_view text) {
  if (text.find('@') != text.npos) return Refuse(text, "it has user information");
  std::string_view host = text;
  std::optional<uint16_t> port;
  const size_t bracket = text.rfind(']');
  const size_t colon = text.find(':', bracket == text.npos ? 0 : bracket);
  if (colon != text.npos) {
    host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    uint16_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value == 0) {
      return Refuse(text, "what follows the ':' is no port from 1 to 65535");
    }
    port = value;
  }
  auto parsed = ParseHost(host);
  if (!parsed) return tl::unexpected(std::move(parsed).error());
  Result<Authority> authority(tl::in_place, Authority{IpAddress(), port});
  authority->host = *std::move(parsed);
  return authority;
}

Result<HostPattern> HostPattern::Parse(std::string_view text) {
  const bool wildcard = text.starts_with("*.");
  const std::string_view rest = wildcard ? text.substr(2) : text;
  if (text == "*" || text == "**" || text == "*.") {
    return Fail(Code::kInvalid, "'" + std::string(text) +
                                    "' is not a host; every public name is written any (a value, "
                                    "without quotes)");
  }
  if (rest.find('*') != rest.npos) {
    std::string_view zone = text.substr(text.rfind('*') + 1);
    if (zone.starts_with('.')) zone.remove_prefix(1);
    const std::string hint = zone.empty()
                                 ? "every public name is written any (a value, without quotes)"
                                 : "write '*." + std::string(zone) + "' for every name below it";
    return Fail(Code::kInvalid,
                Quoted(text) + ": a '*' may only stand as the whole first label; " + hint);
  }
  auto name = HostName::Parse(rest);
  if (!name) return tl::unexpected(std::move(name).error());
  return HostPattern(wildcard ? Kind::kBelow : Kind::kExact, *std::move(name));
}

HostPattern HostPattern::Any() {
  return HostPattern(Kind::kAny, std::nullopt);
}

bool HostPattern::Matches(const HostName& name) const {
  switch (kind_) {
    case Kind::kExact:
      return name == *name_;
    case Kind::kBelow:
      return name.IsBelow(*name_);
    case Kind::kAny:
      return true;
  }
  return false;
}

bool HostPattern::Covers(const HostPattern& other) const {
  if (is_any()) return true;
  if (other.is_any()) return false;
  if (other.kind_ == Kind::kExact) return Matches(*other.name_);
  return kind_ == Kind::kBelow && (*other.name_ == *name_ || other.name_->IsBelow(*name_));
}

std::string HostPattern::ToString() const {
  if (is_any()) return "any";
  return kind_ == Kind::kBelow ? "*." + name_->text() : name_->text();
}

bool IsPublicSuffix(const HostName& name) {
  // Loaded once, read-only after that; the library's own table where the system has no newer one.
  static const psl_ctx_t* const list = psl_latest(nullptr);
  if (list == nullptr) return name.text().find('.') == std::string::npos;
  return psl_is_public_suffix(list, name.text().c_str()) != 0;
}

}  // namespace sallyport
