#pragma once

#include <cstdint>

#include "base/dialer.h"
#include "base/ip_address.h"

namespace sallyport::runtime {

/// A port of the host that leads to a port of the sandbox.
struct PublishedPort {
  Transport transport = Transport::kTcp;
  Endpoint host;
  uint16_t guest = 0;
};

}  // namespace sallyport::runtime
