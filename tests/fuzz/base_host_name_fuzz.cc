// A host, an authority and a pattern of any bytes: what is accepted is canonical, and reading the
// canonical form again gives the same.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/host_name.h"

using namespace sallyport;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = HostName::Parse(text)) {
    SALLYPORT_CHECK(name->text().size() <= 253 && !name->text().empty());
    const auto again = HostName::Parse(name->text());
    SALLYPORT_CHECK(again && *again == *name);
    const auto host = ParseHost(text);
    SALLYPORT_CHECK(host && std::get<HostName>(*host) == *name);
  }
  if (const auto host = ParseHost(text)) {
    const auto again = ParseHost(ToString(*host));
    SALLYPORT_CHECK(again && *again == *host);
  }
  if (const auto authority = ParseAuthority(text)) {
    SALLYPORT_CHECK(!authority->port || *authority->port != 0);
  }
  if (const auto pattern = HostPattern::Parse(text)) {
    const auto again = HostPattern::Parse(pattern->ToString());
    SALLYPORT_CHECK(again && *again == *pattern && pattern->Covers(*again));
  }
  return 0;
}
