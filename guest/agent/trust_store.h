#pragma once

#include "base/result.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {

/// The gate's CA alone, and all roots including it.
constexpr const char* kCaFile = "/run/sallyport/ca.pem";
constexpr const char* kCaBundle = "/run/sallyport/ca-bundle.pem";
constexpr const char* kHashedDirectory = "/etc/ssl/certs";

/// Makes the image's programs trust the gate's CA: adds it to each root bundle that the image has,
/// to the hashed directory and to the distribution's own additions, so that its update tools keep
/// it, and writes the two files above. kCaBundle leads to the first bundle found; without any it
/// has the CA only. The same CA twice changes nothing. An existing bundle that can't be extended is
/// an error: programs would fail later and less clearly.
Status InstallTrust(const Trust& trust);

}  // namespace sallyport::guest
