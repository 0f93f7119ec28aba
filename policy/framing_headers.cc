#include "policy/framing_headers.h"

#include <algorithm>
#include <iterator>

#include "base/http_message.h"

namespace sallyport::policy {

bool IsFramingHeader(std::string_view name) {
  static constexpr std::string_view kFraming[] = {"connection",
                                                  "content-length",
                                                  "expect",
                                                  "host",
                                                  "http2-settings",
                                                  "keep-alive",
                                                  "proxy-authorization",
                                                  "proxy-connection",
                                                  "te",
                                                  "trailer",
                                                  "transfer-encoding",
                                                  "upgrade"};
  return std::any_of(std::begin(kFraming), std::end(kFraming),
                     [name](std::string_view framing) { return EqualsIgnoreCase(framing, name); });
}

}  // namespace sallyport::policy
