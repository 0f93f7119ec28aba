#pragma once

#include <string>

#include "base/result.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {

/// The gate's CA alone, and all roots including it.
constexpr const char* kCaFile = "/run/sallyport/ca.pem";
constexpr const char* kCaBundle = "/run/sallyport/ca-bundle.pem";
constexpr const char* kHashedDirectory = "/etc/ssl/certs";

/// Makes the image's programs trust the gate's CA: adds it to each root bundle that the image has
/// and to the hashed directory, and writes the two files above. kCaBundle leads to the first bundle
/// found; without any it has the CA only. The same CA twice changes nothing. What is read-only
/// stays as it is; if no bundle can be extended, kCaBundle is a copy of one with the CA. A bundle
/// that is no file is an error: programs would fail later and less clearly.
Status InstallTrust(const Trust& trust);

/// Adds CA_PEM to the distribution's own additions, where its tools look when they write the
/// bundles anew. A help for later only: an image without such a folder, or that can't be written,
/// is fine.
void KeepTrustOnUpdates(const std::string& ca_pem);

}  // namespace sallyport::guest
