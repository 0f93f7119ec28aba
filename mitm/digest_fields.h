#pragma once

#include <string_view>

#include "base/http_message.h"

namespace sallyport::mitm {

/// Removes the fields with a digest of a body (RFC 9530, RFC 3230, RFC 1864): they hold no longer
/// once its content codings are gone.
inline void RemoveDigests(Headers& headers) {
  for (const std::string_view name : {"content-digest", "repr-digest", "digest", "content-md5"}) {
    headers.Remove(name);
  }
}

}  // namespace sallyport::mitm
