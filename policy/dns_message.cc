#include "policy/dns_message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>

namespace sallyport::policy::dns {

namespace {

constexpr size_t kHeaderSize = 12;
constexpr unsigned kOpcodeShift = 11;
constexpr uint16_t kFlagResponse = 0x8000;
constexpr uint16_t kFlagTruncated = 0x0200;
constexpr uint16_t kFlagRecursionDesired = 0x0100;
constexpr uint16_t kFlagRecursionAvailable = 0x0080;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kClassAny = 255;
constexpr uint16_t kOurUdpSize = 1232;  // Fits any path without fragments (DNS flag day 2020).
constexpr size_t kMaxName = 255;        // RFC 1035, with length bytes.
constexpr size_t kMaxChain = 16;
constexpr size_t kMaxRecords = 256;      // An answer section larger than this is nobody's.
constexpr uint32_t kMaxNegativeTtl = 5;  // A reload or an approval must take effect soon.
constexpr size_t kMaxExtendedText = 200;

struct NamedType {
  uint16_t type;
  std::string_view name;
};
constexpr NamedType kTypes[] = {
    {1, "A"},      {2, "NS"},     {5, "CNAME"},   {6, "SOA"},    {10, "NULL"}, {12, "PTR"},
    {13, "HINFO"}, {15, "MX"},    {16, "TXT"},    {24, "SIG"},   {25, "KEY"},  {28, "AAAA"},
    {33, "SRV"},   {35, "NAPTR"}, {37, "CERT"},   {39, "DNAME"}, {43, "DS"},   {44, "SSHFP"},
    {46, "RRSIG"}, {47, "NSEC"},  {48, "DNSKEY"}, {50, "NSEC3"}, {52, "TLSA"}, {64, "SVCB"},
    {65, "HTTPS"}, {99, "SPF"},   {251, "IXFR"},  {252, "AXFR"}, {255, "ANY"}, {256, "URI"},
    {257, "CAA"},
};

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

void AppendLabel(std::string& out, std::string_view label) {
  for (const char raw : label) {
    const char c = Lower(raw);
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '*';
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '\\';
    out += static_cast<char>('0' + byte / 100);
    out += static_cast<char>('0' + byte / 10 % 10);
    out += static_cast<char>('0' + byte % 10);
  }
}

/// A cursor over a message; every read checks the bounds, and after a failed one nothing succeeds.
class Reader {
 public:
  explicit Reader(std::string_view message) : message_(message) {}

  uint16_t U16() {
    if (!Has(2)) return 0;
    const auto high = static_cast<uint8_t>(message_[at_]);
    const auto low = static_cast<uint8_t>(message_[at_ + 1]);
    at_ += 2;
    return static_cast<uint16_t>(high << 8 | low);
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  std::string_view Bytes(size_t count) {
    if (!Has(count)) return {};
    at_ += count;
    return message_.substr(at_ - count, count);
  }

  /// A domain name, decompressed. Pointers must point before the name's own start, each before the
  /// last, so that there is no loop.
  std::string Name() {
    std::string name;
    size_t at = at_;
    size_t limit = at_;
    size_t length = 1;
    bool jumped = false;
    for (;;) {
      if (at >= message_.size()) return Broken();
      const auto head = static_cast<uint8_t>(message_[at]);
      if (head == 0) {
        if (!jumped) at_ = at + 1;
        return name;
      }
      if ((head & 0xc0) == 0xc0) {
        if (at + 1 >= message_.size()) return Broken();
        const size_t target =
            static_cast<size_t>(head & 0x3f) << 8 | static_cast<uint8_t>(message_[at + 1]);
        if (!jumped) at_ = at + 2;
        jumped = true;
        if (target >= limit) return Broken();
        limit = target;
        at = target;
        continue;
      }
      length += head + 1u;
      if (head > 63 || at + 1 + head > message_.size() || length > kMaxName) return Broken();
      if (!name.empty()) name += '.';
      AppendLabel(name, message_.substr(at + 1, head));
      at += 1u + head;
    }
  }

  size_t at() const { return at_; }
  bool ok() const { return ok_; }

 private:
  bool Has(size_t count) {
    if (!ok_ || count > message_.size() - at_) ok_ = false;
    return ok_;
  }
  std::string Broken() {
    ok_ = false;
    return {};
  }

  std::string_view message_;
  size_t at_ = 0;
  bool ok_ = true;
};

struct Header {
  uint16_t id, flags, questions, answers, authorities, additionals;
};

Header ReadHeader(Reader& in) {
  Header header{};
  header.id = in.U16();
  header.flags = in.U16();
  header.questions = in.U16();
  header.answers = in.U16();
  header.authorities = in.U16();
  header.additionals = in.U16();
  return header;
}

struct Record {
  std::string name;
  uint16_t type = 0;
  uint16_t dns_class = 0;
  uint32_t ttl = 0;
  std::string_view data;
  size_t data_at = 0;
};

Record ReadRecord(Reader& in) {
  Record record;
  record.name = in.Name();
  record.type = in.U16();
  record.dns_class = in.U16();
  record.ttl = in.U32();
  const uint16_t length = in.U16();
  record.data_at = in.at();
  record.data = in.Bytes(length);
  return record;
}

void PutU16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}
void PutU32(std::string& out, uint32_t value) {
  PutU16(out, value >> 16);
  PutU16(out, value & 0xffff);
}
void PutHeader(std::string& out, const Header& header) {
  for (const unsigned field : {header.id, header.flags, header.questions, header.answers,
                               header.authorities, header.additionals}) {
    PutU16(out, field);
  }
}

constexpr unsigned kQuestionName = 0xc00c;  // A pointer to the name of the question.

void PutAddress(std::string& out, const IpAddress& address, uint32_t ttl) {
  PutU16(out, kQuestionName);
  PutU16(out, address.is_v4() ? kTypeA : kTypeAaaa);
  PutU16(out, kClassIn);
  PutU32(out, ttl);
  const auto bytes = address.bytes();
  PutU16(out, static_cast<unsigned>(bytes.size()));
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// The SOA that a negative answer carries (RFC 2308): its minimum is how long it is remembered.
void PutSoa(std::string& out, uint32_t ttl) {
  out += '\0';  // The root owns it: nothing is said about the zone.
  PutU16(out, kTypeSoa);
  PutU16(out, kClassIn);
  PutU32(out, ttl);
  PutU16(out, 22);
  out.append(2, '\0');  // MNAME and RNAME: the root.
  for (const uint32_t value : {1u, 3600u, 600u, 86400u, ttl}) PutU32(out, value);
}

void PutOpt(std::string& out, const Answer* answer) {
  out += '\0';
  PutU16(out, kTypeOpt);
  PutU16(out, kOurUdpSize);
  PutU32(out, 0);
  if (answer == nullptr || !answer->extended_error) return PutU16(out, 0);
  const std::string_view text = std::string_view(answer->extended_text).substr(0, kMaxExtendedText);
  PutU16(out, static_cast<unsigned>(6 + text.size()));
  PutU16(out, 15);  // Option EDE.
  PutU16(out, static_cast<unsigned>(2 + text.size()));
  PutU16(out, *answer->extended_error);
  out += text;
}

void ReadEdns(Reader& in, const Header& header, Query& query) {
  const size_t records = size_t{header.answers} + header.authorities + header.additionals;
  for (size_t i = 0; i < std::min(records, kMaxRecords) && in.ok(); ++i) {
    const Record record = ReadRecord(in);
    if (!in.ok() || record.type != kTypeOpt) continue;
    query.edns = true;
    query.udp_size = std::max<uint16_t>(512, record.dns_class);
  }
}

}  // namespace

std::string TypeName(uint16_t type) {
  for (const auto& named : kTypes) {
    if (named.type == type) return std::string(named.name);
  }
  return "TYPE" + std::to_string(type);
}

std::optional<uint16_t> ParseTypeName(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  for (const auto& named : kTypes) {
    if (named.name == upper) return named.type;
  }
  if (!upper.starts_with("TYPE")) return std::nullopt;
  uint16_t type = 0;
  const char* last = upper.data() + upper.size();
  const auto [end, error] = std::from_chars(upper.data() + 4, last, type);
  if (error != std::errc() || end != last) return std::nullopt;
  return type;
}

ParsedQuery ParseQuery(std::string_view message) {
  ParsedQuery parsed;
  Reader in(message);
  const Header header = ReadHeader(in);
  if (!in.ok() || (header.flags & kFlagResponse) != 0) return parsed;
  parsed.outcome = ParsedQuery::Outcome::kMalformed;
  Query& query = parsed.query;
  query.id = header.id;
  query.recursion_desired = (header.flags & kFlagRecursionDesired) != 0;
  query.opcode = (header.flags >> kOpcodeShift) & 0xf;
  if (query.opcode != 0) {  // No updates, no notifies.
    parsed.rcode = Rcode::kNotImp;
    return parsed;
  }
  if (header.questions != 1) return parsed;
  query.name = in.Name();
  query.type = in.U16();
  query.dns_class = in.U16();
  if (!in.ok()) return parsed;
  query.question = message.substr(kHeaderSize, in.at() - kHeaderSize);
  ReadEdns(in, header, query);
  if (!in.ok()) return parsed;
  if (query.dns_class != kClassIn && query.dns_class != kClassAny) {
    parsed.rcode = Rcode::kRefused;
    return parsed;
  }
  parsed.outcome = ParsedQuery::Outcome::kQuery;
  return parsed;
}

std::string BuildResponse(const Query& query, const Answer& answer, size_t most) {
  const bool has_question = !query.question.empty();
  const bool v4 = query.type == kTypeA;
  std::string body;
  uint16_t answers = 0;
  if (answer.rcode == Rcode::kNoError && has_question && (v4 || query.type == kTypeAaaa)) {
    for (const auto& address : answer.addresses) {
      if (address.is_v4() != v4) continue;
      PutAddress(body, address, answer.ttl);
      ++answers;
    }
  }
  const bool negative = has_question && answers == 0 &&
                        (answer.rcode == Rcode::kNoError || answer.rcode == Rcode::kNxDomain);
  if (negative) PutSoa(body, std::min(answer.ttl, kMaxNegativeTtl));
  std::string tail;
  if (query.edns) PutOpt(tail, &answer);

  Header header{};
  header.id = query.id;
  header.flags = static_cast<uint16_t>(kFlagResponse | kFlagRecursionAvailable |
                                       unsigned{query.opcode} << kOpcodeShift |
                                       static_cast<unsigned>(answer.rcode));
  if (query.recursion_desired) header.flags |= kFlagRecursionDesired;
  header.questions = has_question ? 1 : 0;
  header.answers = answers;
  header.authorities = negative ? 1 : 0;
  header.additionals = query.edns ? 1 : 0;
  if (kHeaderSize + query.question.size() + body.size() + tail.size() > most) {
    header.flags |= kFlagTruncated;
    header.answers = header.authorities = header.additionals = 0;
    body.clear();
    tail.clear();
  }
  std::string out;
  PutHeader(out, header);
  return out + query.question + body + tail;
}

std::string BuildQuery(uint16_t id, const HostName& name, uint16_t type) {
  std::string out;
  PutHeader(out, {.id = id,
                  .flags = kFlagRecursionDesired,
                  .questions = 1,
                  .answers = 0,
                  .authorities = 0,
                  .additionals = 1});
  std::string_view rest = name.text();
  while (!rest.empty()) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    out += static_cast<char>(label.size());
    out += label;
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  out += '\0';
  PutU16(out, type);
  PutU16(out, kClassIn);
  PutOpt(out, nullptr);
  return out;
}

namespace {

struct AnswerRecords {
  struct Alias {
    std::string target;
    uint32_t ttl;
  };
  struct Found {
    IpAddress address;
    uint32_t ttl;
  };
  std::map<std::string, Alias> aliases;
  std::multimap<std::string, Found> addresses;
};

/// Collects what the answer section says; nothing when it is malformed.
std::optional<AnswerRecords> ReadAnswers(std::string_view message, Reader& in, size_t count,
                                         uint16_t type) {
  AnswerRecords records;
  if (count > kMaxRecords) return std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    const Record record = ReadRecord(in);
    if (!in.ok()) return std::nullopt;
    if (record.dns_class != kClassIn) continue;
    if (record.type == kTypeCname) {
      // The name may point back into the message, so it is read from its place there, bounded by
      // its length.
      Reader data(message.substr(0, record.data_at + record.data.size()));
      data.Bytes(record.data_at);
      std::string target = data.Name();
      if (!data.ok()) return std::nullopt;
      records.aliases.insert_or_assign(record.name,
                                       AnswerRecords::Alias{std::move(target), record.ttl});
    } else if (record.type == type) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(record.data.data());
      if (type == kTypeA && record.data.size() == 4) {
        records.addresses.emplace(
            record.name,
            AnswerRecords::Found{IpAddress::V4(std::span<const uint8_t, 4>(bytes, 4)), record.ttl});
      } else if (type == kTypeAaaa && record.data.size() == 16) {
        records.addresses.emplace(
            record.name, AnswerRecords::Found{
                             IpAddress::V6(std::span<const uint8_t, 16>(bytes, 16)), record.ttl});
      } else if (type == kTypeA || type == kTypeAaaa) {
        return std::nullopt;
      }
    }
  }
  return records;
}

}  // namespace

Result<UpstreamAnswer> ParseResponse(std::string_view message, const HostName& name,
                                     uint16_t type) {
  const auto malformed = [&](const char* why) {
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
  UpstreamAnswer answer;
  answer.rcode = static_cast<Rcode>(header.flags & 0xf);
  answer.truncated = (header.flags & kFlagTruncated) != 0;
  if (answer.rcode != Rcode::kNoError || answer.truncated) return answer;
  const auto records = ReadAnswers(message, in, header.answers, type);
  if (!records) return malformed("malformed records");

  std::string current = asked;
  uint32_t ttl = UINT32_MAX;
  for (auto alias = records->aliases.find(current); alias != records->aliases.end();
       alias = records->aliases.find(current)) {
    auto target = HostName::Parse(alias->second.target);
    if (!target) return malformed("a CNAME that is no host name");
    if (answer.chain.size() == kMaxChain) return malformed("its CNAME chain is too long");
    answer.chain.push_back(*std::move(target));
    ttl = std::min(ttl, alias->second.ttl);
    current = alias->second.target;
  }
  const auto [first, last] = records->addresses.equal_range(current);
  for (auto found = first; found != last; ++found) {
    answer.addresses.push_back(found->second.address);
    ttl = std::min(ttl, found->second.ttl);
  }
  answer.ttl = ttl == UINT32_MAX ? 0 : ttl;
  return answer;
}

}  // namespace sallyport::policy::dns
