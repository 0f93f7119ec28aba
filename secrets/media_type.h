#pragma once

#include <string>

#include "base/http_message.h"
#include "base/secret_spec.h"

namespace sallyport::secrets {

/// What a body is, as far as placeholders in it are concerned.
struct MediaType {
  enum class Format {
    kOther,
    kJson,        ///< application/json, application/*+json.
    kUrlEncoded,  ///< application/x-www-form-urlencoded.
    kMultipart,   ///< multipart/form-data, with a boundary.
    kText,        ///< text/*.
  };
  Format format = Format::kOther;
  std::string boundary;  ///< For kMultipart: 1 to 70 characters of RFC 2046.
};

/// What HEADERS say of their body. kOther where they say nothing, contradict themselves (two
/// fields, two boundaries), or break the form of RFC 9110, 8.3.
MediaType MediaTypeOf(const Headers& headers);

/// Whether FORMAT is one that a secret with BODY is put into.
bool IsKind(MediaType::Format format, SecretSpec::Body body);

}  // namespace sallyport::secrets
