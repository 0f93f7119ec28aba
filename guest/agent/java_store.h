#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::guest {

/// Java's trust stores in the JKS format, which every Java reads whatever the file's name says:
///
///     magic, version 2, number of entries, entries, SHA-1 over a password, a phrase and all before
///
/// The password is "changeit", as everywhere: it guards nothing, the certificates are not secret.

/// STORE, a JKS file, with the certificate DER added under the alias "sallyport"; the same bytes
/// where it is the last entry already. kInvalid where STORE is something else, a PKCS #12 file for
/// one. The entries are not looked at.
Result<std::string> AddToJavaStore(std::string_view store, std::string_view der);

/// A JKS file of all certificates in PEM. kInvalid if there is none, or one that is not base64.
Result<std::string> MakeJavaStore(std::string_view pem);

/// The first certificate in PEM, in DER. kInvalid as above.
Result<std::string> FirstCertificate(std::string_view pem);

}  // namespace sallyport::guest
