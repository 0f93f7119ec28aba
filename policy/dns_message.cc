#include "policy/dns_message.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "base/cut_text.h"
#include "policy/dns_records.h"
#include "policy/dns_wire.h"

namespace sallyport::policy::dns {

namespace {

constexpr size_t kHeaderSize = 12;
constexpr unsigned kOpcodeShift = 11;
constexpr uint16_t kClassAny = 255;
constexpr uint16_t kOurUdpSize = 1232;  // Fits any path without fragments (DNS flag day 2020).
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

constexpr unsigned kQuestionName = 0xc00c;  // A pointer to the name of the question.

void PutRecord(std::string& out, uint16_t type, std::string_view data, uint32_t ttl) {
  PutU16(out, kQuestionName);
  PutU16(out, type);
  PutU16(out, kClassIn);
  PutU32(out, ttl);
  PutU16(out, static_cast<unsigned>(data.size()));
  out += data;
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
  const std::string_view text = CutText(answer->extended_text, kMaxExtendedText);
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
      const auto bytes = address.bytes();
      PutRecord(body, query.type, {reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                answer.ttl);
      ++answers;
    }
  }
  if (answer.rcode == Rcode::kNoError && has_question && answers == 0) {
    for (const std::string& data : answer.records) PutRecord(body, query.type, data, answer.ttl);
    answers = static_cast<uint16_t>(answer.records.size());
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

Result<UpstreamAnswer> ParseResponse(std::string_view message, const HostName& name,
                                     uint16_t type) {
  auto records = ParseRecords(message, name, type);
  if (!records) return tl::unexpected(std::move(records).error());
  UpstreamAnswer answer;
  answer.rcode = records->rcode;
  answer.truncated = records->truncated;
  answer.chain = std::move(records->chain);
  answer.ttl = records->ttl;
  for (const std::string& data : records->data) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
    if (data.size() == 4) {
      answer.addresses.push_back(IpAddress::V4(std::span<const uint8_t, 4>(bytes, 4)));
    } else if (data.size() == 16) {
      answer.addresses.push_back(IpAddress::V6(std::span<const uint8_t, 16>(bytes, 16)));
    }
  }
  return answer;
}

}  // namespace sallyport::policy::dns
