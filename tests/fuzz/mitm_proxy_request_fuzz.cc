// Any bytes as the first request to the proxy port: what is granted a target is read again the
// same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mitm/proxy_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sallyport::mitm::ProxyRequest;
  using sallyport::mitm::ReadProxyRequest;
  using sallyport::mitm::ReplayHead;
  using sallyport::mitm::http1::HeadReader;
  if (size > 100'000) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  HeadReader reader(HeadReader::Kind::kRequest);
  if (reader.Feed(bytes) != HeadReader::Outcome::kHead) return 0;
  const ProxyRequest request = ReadProxyRequest(reader.head());
  SALLYPORT_CHECK((request.kind == ProxyRequest::Kind::kBad) == !request.host.has_value());
  SALLYPORT_CHECK((request.kind == ProxyRequest::Kind::kBad) == !request.error.empty());
  if (request.kind == ProxyRequest::Kind::kBad) return 0;
  SALLYPORT_CHECK(request.port != 0);

  const std::string replay = ReplayHead(reader.head(), request);
  std::string_view rest = replay;
  HeadReader again(HeadReader::Kind::kRequest);
  const auto outcome = again.Feed(rest);
  // The two added fields may be those that are too many.
  if (reader.head().headers.fields().size() > 98) return 0;
  SALLYPORT_CHECK(outcome == HeadReader::Outcome::kHead || replay.size() > 64 * 1024);
  if (outcome != HeadReader::Outcome::kHead) return 0;
  SALLYPORT_CHECK(rest.empty());
  SALLYPORT_CHECK(again.head().method == reader.head().method);
  SALLYPORT_CHECK(again.head().target == reader.head().target);
  const ProxyRequest reread = ReadProxyRequest(again.head());
  SALLYPORT_CHECK(reread.kind == request.kind && reread.host == request.host &&
                  reread.port == request.port);
  return 0;
}
