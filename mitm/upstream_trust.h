#pragma once

#include <openssl/x509.h>

#include <vector>

#include "base/result.h"
#include "mitm/interceptor.h"

namespace sallyport::mitm {

/// Reads the certificates of a PEM bundle into STORE, which upstream certificates are verified
/// against. A certificate that can't be parsed is passed over (bundles of hosts have odd ones); a
/// bundle without a usable certificate, or with a broken frame, is an error with its name.
Status AddTrustedRoots(const RootBundle& bundle, X509_STORE* store);

/// A store with the certificates of BUNDLES; without any it trusts nobody.
Result<bssl::UniquePtr<X509_STORE>> LoadTrustedRoots(const std::vector<RootBundle>& bundles);

}  // namespace sallyport::mitm
