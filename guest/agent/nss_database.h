#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::guest {

/// The files of a folder in which NSS, the library of browsers, keeps certificates.
struct NssDatabase {
  std::string certificates;  ///< cert9.db
  std::string keys;          ///< key4.db: no key and no password; NSS opens no folder without it.
};

/// A database in which the certificate DER is an authority for TLS servers, as `certutil -A -t C,,`
/// makes it. kInvalid if DER is no certificate, kLimit if it has more than some 3 KiB.
Result<NssDatabase> MakeNssDatabase(std::string_view der);

}  // namespace sallyport::guest
