// A message of any bytes, as a guest's query and as a resolver's answer. What is built from a query
// stays within the client's size, and its own header is sound.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "policy/dns_message.h"
#include "policy/dns_records.h"

using namespace sallyport;
using namespace sallyport::policy;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  const dns::ParsedQuery parsed = dns::ParseQuery(message);
  if (parsed.outcome == dns::ParsedQuery::Outcome::kQuery) {
    dns::Answer answer;
    answer.addresses = {IpAddress::V4(198, 18, 0, 1)};
    answer.extended_error = dns::kEdeBlocked;
    answer.extended_text = std::string(300, 'x');
    const std::string response = dns::BuildResponse(parsed.query, answer, parsed.query.udp_size);
    SALLYPORT_CHECK(response.size() >= 12 && response.size() <= parsed.query.udp_size);
    if (const auto name = HostName::Parse(parsed.query.name); name && parsed.query.dns_class == 1) {
      static_cast<void>(dns::ParseResponse(response, *name, parsed.query.type));
      const auto own = dns::ParseQuery(dns::BuildQuery(1, *name, parsed.query.type));
      SALLYPORT_CHECK(own.outcome == dns::ParsedQuery::Outcome::kQuery &&
                      own.query.name == name->text());
    }
  }
  static const HostName kName = *HostName::Parse("www.example.com");
  for (const uint16_t type : {dns::kTypeA, dns::kTypeAaaa}) {
    const auto answer = dns::ParseResponse(message, kName, type);
    if (answer) SALLYPORT_CHECK(answer->chain.size() <= 16 && answer->addresses.size() <= 256);
  }
  // NS, MX, TXT, SRV, NAPTR, CNAME, and one that nobody knows.
  constexpr uint16_t kTypes[] = {2, 15, 16, 33, 35, 5, 65280};
  for (const uint16_t type : kTypes) {
    const auto records = dns::ParseRecords(message, kName, type);
    if (!records) continue;
    size_t bytes = 0;
    for (const std::string& record : records->data) bytes += record.size();
    SALLYPORT_CHECK(records->chain.size() <= 16 && bytes <= dns::kMaxRecordBytes);
  }
  return 0;
}
