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

enum class JavaStoreChange { kNone, kAdded };

/// Adds the certificate DER to STORE, the bytes of a JKS file, under the alias "sallyport", unless
/// it is the last entry already. kInvalid, and STORE as it was, where that is something else, a
/// PKCS #12 file for one. The entries are not looked at. In place: a store has some hundred KiB,
/// and no program starts before this is done.
Result<JavaStoreChange> AddToJavaStore(std::string& store, std::string_view der);

/// A JKS file of all certificates in PEM. kInvalid if there is none, or one that is not base64.
Result<std::string> MakeJavaStore(std::string_view pem);

/// The first certificate in PEM, in DER. kInvalid as above.
Result<std::string> FirstCertificate(std::string_view pem);

}  // namespace sallyport::guest
