#include "policy/dns_records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "policy/dns_wire.h"

namespace sallyport::policy::dns {
namespace {

constexpr size_t kMaxChain = 16;

// How the data of a type is made up: n a name, which may be compressed; a digit so many bytes; s a string
// behind its length; S one or more of them, to the end; * what is left, perhaps nothing. Names of types
// that stand not here are never compressed (RFC 3597, section 4), so that their data can be copied.
struct Layout {
  uint16_t type;
  std::string_view fields;
};
constexpr Layout kLayouts[] = {
    {kTypeA, "4"},
    {2, "n"},                // NS
    {3, "n"},                // MD
    {4, "n"},                // MF
    {kTypeCname, "n"},
    {kTypeSoa, "nn44444"},
    {7, "n"},                // MB
    {8, "n"},                // MG
    {9, "n"},                // MR
    {12, "n"},               // PTR
    {13, "ss"},              // HINFO
    {14, "nn"},              // MINFO
    {15, "2n"},              // MX
    {16, "S"},               // TXT
    {17, "nn"},              // RP
    {18, "2n"},              // AFSDB
    {21, "2n"},              // RT
    {26, "2nn"},             // PX
    {kTypeAaaa, "88"},
    {33, "222n"},            // SRV
    {35, "22sssn"},          // NAPTR
    {36, "2n"},              // KX
    {39, "n"},               // DNAME
    {99, "S"},               // SPF
    {257, "1s*"},            // CAA
};

std::string_view LayoutOf(uint16_t type) {
  for (const Layout& layout : kLayouts) {
    if (layout.type == type) return layout.fields;
  }
  return "*";
}

// A string behind its length, with it.
void CopyString(Reader& in, std::string& out) {
  const std::string_view length = in.Bytes(1);
  if (!in.ok()) return;
  out += length;
  out += in.Bytes(static_cast<uint8_t>(length.front()));
}

void CopyField(char field, Reader& in, std::string& out) {
  switch (field) {
    case 'n':
      out += in.WireName();
      return;
    case 's':
      return CopyString(in, out);
    case 'S':
      do {
        CopyString(in, out);
      } while (in.ok() && in.left() > 0);
      return;
    case '*':
      out += in.Bytes(in.left());
      return;
    default:
      out += in.Bytes(static_cast<size_t>(field - '0'));
  }
}

// The data of RECORD with its names whole; nothing where its type does not have such data.
std::optional<std::string> WholeData(std::string_view message, const Record& record) {
  // Names may point back into the message, so they are read from their place there, up to its end.
  Reader in(message.substr(0, record.data_at + record.data.size()), record.data_at);
  std::string data;
  for (const char field : LayoutOf(record.type)) CopyField(field, in, data);
  if (!in.ok() || in.left() > 0) return std::nullopt;
  return data;
}

struct AnswerSection {
  struct Alias {
    std::string target;
    uint32_t ttl;
  };
  struct Found {
    std::string data;
    uint32_t ttl;
  };
  std::map<std::string, Alias> aliases;
  std::multimap<std::string, Found> records;
};

// Collects what the answer section says of TYPE, and of aliases; nothing when it is malformed.
std::optional<AnswerSection> ReadAnswers(std::string_view message, Reader& in, size_t count,
                                         uint16_t type) {
  AnswerSection section;
  if (count > kMaxRecords) return std::nullopt;
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    const Record record = ReadRecord(in);
    if (!in.ok()) return std::nullopt;
    if (record.dns_class != kClassIn) continue;
    if (record.type == kTypeCname) {
      Reader data(message.substr(0, record.data_at + record.data.size()), record.data_at);
      std::string target = data.Name();
      if (!data.ok() || data.left() > 0) return std::nullopt;
      section.aliases.insert_or_assign(record.name, AnswerSection::Alias{target, record.ttl});
    }
    if (record.type != type) continue;
    auto data = WholeData(message, record);
    if (!data) return std::nullopt;
    bytes += data->size();
    if (bytes > kMaxRecordBytes) return std::nullopt;
    section.records.emplace(record.name, AnswerSection::Found{*std::move(data), record.ttl});
  }
  return section;
}

// Follows the aliases of ASKED; where they end, or what is wrong with them.
Result<std::string> FollowAliases(const AnswerSection& section, const std::string& asked,
                                  RecordsAnswer& answer) {
  std::string current = asked;
  for (auto alias = section.aliases.find(current); alias != section.aliases.end();
       alias = section.aliases.find(current)) {
    auto target = HostName::Parse(alias->second.target);
    if (!target) return Fail(Code::kInvalid, "a CNAME that is no host name");
    if (answer.chain.size() == kMaxChain) {
      return Fail(Code::kInvalid, "its CNAME chain is too long");
    }
    answer.chain.push_back(*std::move(target));
    answer.ttl = std::min(answer.ttl, alias->second.ttl);
    current = alias->second.target;
  }
  return current;
}

// What stands before the common end of a name, or nothing where ZONE is not its end.
std::optional<std::string_view> Before(std::string_view name, std::string_view zone) {
  if (name == zone) return std::string_view();
  if (!name.ends_with(zone)) return std::nullopt;
  name.remove_suffix(zone.size());
  if (!name.ends_with('.')) return std::nullopt;
  name.remove_suffix(1);
  return name;
}

// The numbers of LABELS, the last one first; empty where one is none in BASE or above MOST.
std::vector<uint8_t> ReverseNumbers(std::string_view labels, int base, unsigned most) {
  std::vector<uint8_t> numbers;
  while (!labels.empty()) {
    const size_t dot = labels.rfind('.');
    const std::string_view label = dot == labels.npos ? labels : labels.substr(dot + 1);
    unsigned number = 0;
    const char* last = label.data() + label.size();
    const auto [end, error] = std::from_chars(label.data(), last, number, base);
    if (error != std::errc() || end != last || number > most || label.size() > 3) return {};
    numbers.push_back(static_cast<uint8_t>(number));
    labels = dot == labels.npos ? std::string_view() : labels.substr(0, dot);
  }
  return numbers;
}

// Whether NAME is in the zones of reverse names, and the address that it is of, if of one.
struct ReverseName {
  bool is_one = false;
  std::optional<IpAddress> address;
};

ReverseName ReadReverseName(std::string_view name) {
  if (const auto labels = Before(name, "in-addr.arpa")) {
    const auto octets = ReverseNumbers(*labels, 10, 255);
    if (octets.size() != 4) return {true, std::nullopt};
    return {true, IpAddress::V4(octets[0], octets[1], octets[2], octets[3])};
  }
  if (const auto labels = Before(name, "ip6.arpa")) {
    const auto nibbles = ReverseNumbers(*labels, 16, 15);
    if (nibbles.size() != 32) return {true, std::nullopt};
    std::array<uint8_t, 16> bytes{};
    for (size_t i = 0; i < nibbles.size(); ++i) {
      bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] << 4 | nibbles[i]);
    }
    return {true, IpAddress::V6(bytes)};
  }
  return {};
}

std::optional<Refusal> RefuseReverse(const HostName& name, const NameVerdict& verdict) {
  const ReverseName reverse = ReadReverseName(name.text());
  if (!reverse.is_one) return std::nullopt;
  Refusal refusal;
  refusal.reason = Reason::kAddressRefused;
  if (!reverse.address) {
    refusal.detail = name.text() + " is not the reverse name of one address";
    return refusal;
  }
  const IpAddress& address = *reverse.address;
  if (verdict.filter.AdmitsForName(address)) return std::nullopt;
  const std::string group(ToString(Classify(address)));
  refusal.detail = name.text() + " is the reverse name of " + address.ToString() + ", which is " +
                   group + ": no rule says that it may be asked for";
  if (Classify(address) == AddressClass::kPrivate) {
    refusal.how_to_allow = "allow.dns { host = \"" + name.text() +
                           "\", types = { \"PTR\" }, resolves_to = \"" + address.ToString() + "\" }";
  }
  return refusal;
}

}  // namespace

bool IsGrantableType(uint16_t type) {
  constexpr uint16_t kFirstMeta = 128;  // To 255: for queries and messages (RFC 6895).
  constexpr uint16_t kLastMeta = 255;
  if (type == 0 || type == kTypeA || type == kTypeAaaa || type == kTypeOpt) return false;
  if (type == kTypeHttps || type == kTypeSvcb) return false;
  return type < kFirstMeta || (type > kLastMeta && type != UINT16_MAX);
}

Result<RecordsAnswer> ParseRecords(std::string_view message, const HostName& name, uint16_t type) {
  const auto malformed = [&](const std::string& why) {
    return Fail(Code::kInvalid, "DNS answer for " + name.text() + ": " + why);
  };
  Reader in(message);
  const Header header = ReadHeader(in);
  if (!in.ok() || (header.flags & kFlagResponse) == 0 || header.questions != 1)
    return malformed("no response");
  const std::string asked = in.Name();
  const uint16_t asked_type = in.U16();
  const uint16_t asked_class = in.U16();
  if (!in.ok() || asked != name.text() || asked_type != type || asked_class != kClassIn) {
    return malformed("it is for another question");
  }
  RecordsAnswer answer;
  answer.rcode = static_cast<Rcode>(header.flags & 0xf);
  answer.truncated = (header.flags & kFlagTruncated) != 0;
  if (answer.rcode != Rcode::kNoError || answer.truncated) return answer;
  const auto section = ReadAnswers(message, in, header.answers, type);
  if (!section) return malformed("malformed records");

  answer.ttl = UINT32_MAX;
  auto end = FollowAliases(*section, asked, answer);
  if (!end) return malformed(end.error().message());
  const auto [first, last] = section->records.equal_range(type == kTypeCname ? asked : *end);
  for (auto found = first; found != last; ++found) {
    answer.data.push_back(found->second.data);
    answer.ttl = std::min(answer.ttl, found->second.ttl);
  }
  if (answer.ttl == UINT32_MAX) answer.ttl = 0;
  return answer;
}

std::optional<Refusal> RefuseRecords(const HostName& name, uint16_t type,
                                     const NameVerdict& verdict) {
  if (auto reverse = RefuseReverse(name, verdict)) return reverse;
  if (type == kTypeA || type == kTypeAaaa) return std::nullopt;
  const bool grantable = IsGrantableType(type);
  if (grantable && std::find(verdict.types.begin(), verdict.types.end(), type) != verdict.types.end())
    return std::nullopt;
  Refusal refusal;
  refusal.detail = "the addresses of " + name.text() + " are granted, its " + TypeName(type) +
                   (grantable ? " records are not" : " never is");
  if (grantable) {
    refusal.how_to_allow =
        "allow.dns { host = \"" + name.text() + "\", types = { \"" + TypeName(type) + "\" } }";
  }
  return refusal;
}

}  // namespace sallyport::policy::dns
