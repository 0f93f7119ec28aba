#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/http_message.h"

// Content codings as fields name them (RFC 9110, 8.4 and 12.5.3).

namespace sallyport::mitm::content {

/// A coding that there is a decoder for.
enum class Coding {
  kGzip,     ///< "gzip", "x-gzip"; RFC 1952.
  kDeflate,  ///< "deflate": the zlib format (RFC 1950), or without its frame, as clients tolerate.
  kBrotli,   ///< "br"; RFC 7932.
  kZstd,     ///< "zstd"; RFC 8878, with the window of RFC 9659.
};

std::string_view ToString(Coding coding);

/// What the Content-Encoding fields of a message say.
struct ContentEncoding {
  std::vector<Coding> codings;  ///< In the order in which they were applied; "identity" left out.
  /// Set: the body can't be decoded, because of a coding without a decoder (its name; "?" for one
  /// that is not a name), or because there are more than kMaxCodings ("too many").
  std::string undecodable;

  bool identity() const { return codings.empty() && undecodable.empty(); }
};

ContentEncoding ReadContentEncoding(const Headers& headers);

/// The Accept-Encoding fields of a request.
class AcceptEncoding {
 public:
  explicit AcceptEncoding(const Headers& headers);

  /// Whether the client says that it can decode CODING. One that sends no field accepts anything by
  /// the letter of the RFC; in fact it expects the bytes as they are, so it asks for nothing.
  bool AsksFor(Coding coding) const;

  /// The field's value with what can be decoded here: those elements as they stood, weights and
  /// order kept, "*" as gzip; "identity" when nothing remains, or when there was no field.
  std::string Narrowed() const;

 private:
  struct Element {
    std::string_view text;  // With its weight.
    std::string_view name;
    std::string_view parameters;  // From the first ';' on.
    bool refused = false;         // q=0
  };

  std::string joined_;  // All fields.
  std::vector<Element> elements_;
};

}  // namespace sallyport::mitm::content
