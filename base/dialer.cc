#include "base/dialer.h"

namespace sallyport {

std::string_view ToString(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return "tcp";
    case Transport::kUdp:
      return "udp";
    case Transport::kIcmp:
      return "icmp";
  }
  return "unknown";
}

}  // namespace sallyport
