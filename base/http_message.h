#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport {

/// One field of a header block. The name keeps its spelling; comparison ignores ASCII case.
struct HeaderField {
  std::string name;
  std::string value;
  bool operator==(const HeaderField&) const = default;
};

/// A header block: an ordered multimap with names that ignore ASCII case.
class Headers {
 public:
  bool operator==(const Headers&) const = default;
  /// The first value of NAME, if any.
  const std::string* Find(std::string_view name) const;
  std::vector<std::string_view> FindAll(std::string_view name) const;
  size_t Count(std::string_view name) const;
  void Add(std::string_view name, std::string_view value);
  /// Replaces every field NAME by one, where the first stood, or adds it.
  void Set(std::string_view name, std::string_view value);
  /// Returns how many fields went.
  size_t Remove(std::string_view name);

  std::vector<HeaderField>& fields() { return fields_; }
  const std::vector<HeaderField>& fields() const { return fields_; }

 private:
  std::vector<HeaderField> fields_;
};

bool EqualsIgnoreCase(std::string_view a, std::string_view b);
/// RFC 9110 token: what a method or a field name may consist of.
bool IsToken(std::string_view text);
/// Whether no request with METHOD goes on to a server: TRACE, and TRACK as some call it, would show the
/// guest what arrives there, with the values that the gate put in; CONNECT asks for a tunnel.
bool IsNeverForwarded(std::string_view method);
/// What a field value may consist of: no CR, LF or NUL, no control character but tab.
bool IsFieldValue(std::string_view text);

/// The head of a request, in the one form that every protocol version is turned into.
struct RequestHead {
  std::string method;
  std::string scheme;     ///< "http" or "https", from the connection, never from the guest.
  std::string authority;  ///< As the guest spelled it in Host or :authority.
  std::string path;       ///< As spelled, percent-encoding untouched, without the query; "*" for OPTIONS *.
  std::optional<std::string> query;  ///< As spelled, without '?'; set but empty for a bare '?'.
  Headers headers;        ///< End-to-end fields only: no Host, no framing, no connection fields.

  /// The request target in origin form: path, and '?' and query where there is one.
  std::string Target() const;
};

/// The head of a response.
struct ResponseHead {
  int status = 0;
  std::string reason;  ///< HTTP/1 reason phrase; may be empty.
  Headers headers;     ///< End-to-end fields only.
};

}  // namespace sallyport
