#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sallyport::guest {

/// Java's trust stores in the JKS format, which every Java reads whatever the file's name says:
///
///     magic, version 2, number of entries, entries, SHA-1 over a password, a phrase and all before
///
/// The password is "changeit", as everywhere: it guards nothing, the certificates are not secret.

/// What makes a store have one certificate more.
struct JavaStoreChange {
  static constexpr size_t kCountAt = 8;
  static constexpr size_t kDigest = 20;
  std::string count;  ///< Goes over the bytes from kCountAt on.
  std::string end;    ///< Goes over the last kDigest bytes, and beyond them.
};

/// Fills BUFFER with the bytes of a store from OFFSET on; false where it has less, or can't be
/// read.
using ReadStore = std::function<bool(size_t offset, std::span<char> buffer)>;

/// What adds the certificate DER to the JKS file of SIZE bytes that READ reads, under the alias
/// "sallyport"; nothing when it is the last entry already. kInvalid where the file is something
/// else, a PKCS #12 file for one. The entries are not looked at. In small pieces: a store has some
/// hundred KiB, memory costs more than reading, and no program starts before this is done.
Result<std::optional<JavaStoreChange>> ExtendJavaStore(const ReadStore& read, size_t size,
                                                       std::string_view der);

/// A JKS file of all certificates in PEM. kInvalid if there is none, or one that is not base64.
Result<std::string> MakeJavaStore(std::string_view pem);

}  // namespace sallyport::guest
