#pragma once

#include <nghttp2/nghttp2.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/http_message.h"
#include "mitm/message.h"

// Field lists of HTTP/2 to and from the message model, on the guest's side (RFC 9113, 8.2 and 8.3).
// nghttp2's own checks are switched off, as they drop some malformed fields silently: what is not
// refused here is not refused at all.

namespace sallyport::mitm::http2 {

/// A request's fields, one after the other as they are decoded, and the request they make.
class RequestFields {
 public:
  /// SCHEME is the connection's: "https" or "http".
  explicit RequestFields(std::string_view scheme) : scheme_(scheme) {}

  /// Keeps at most kMaxHeadBytes, whatever comes.
  void Add(std::string_view name, std::string_view value);

  enum class Body { kNone, kFollows };
  /// What makes this no request; nothing when request() is one. Its authority is as spelled in
  /// :authority or Host, and has not been compared with anything else.
  std::optional<ProtocolError> Finish(Body body);
  /// After Finish(). Of a bad request, at most the method.
  Request& request() { return request_; }

 private:
  void AddPseudo(std::string_view name, std::string_view value);
  void AddRegular(std::string_view name, std::string_view value);
  void AddCookie(std::string_view value);
  std::optional<ProtocolError> Interpret(Body body);
  std::optional<ProtocolError> CheckPseudo() const;
  std::optional<ProtocolError> TakeAuthority(const std::optional<std::string>& host);
  void Fail(int status, const char* detail);

  const std::string_view scheme_;
  size_t size_ = 0;  // As RFC 7541, 4.1 counts.
  std::optional<std::string> method_;
  std::optional<std::string> request_scheme_;
  std::optional<std::string> authority_;
  std::optional<std::string> path_;
  bool regular_ = false;  // A field that is no pseudo-header has been seen.
  Headers headers_;
  size_t cookie_ = 0;  // One more than the place of the cookie field; 0 for none.
  std::optional<ProtocolError> error_;
  Request request_;
};

/// What is wrong with the form of a field of a request's trailers.
std::optional<ProtocolError> CheckTrailer(std::string_view name, std::string_view value);

/// A response's head, or its trailers, as nghttp2 takes them. Points into what it was made from.
/// Fields with credentials are marked, so that they never enter the compression table.
class ResponseFields {
 public:
  ResponseFields(const ResponseHead& head, BodyLength body);
  explicit ResponseFields(const Headers& trailers) { Add(trailers); }
  ResponseFields(const ResponseFields&) = delete;
  ResponseFields& operator=(const ResponseFields&) = delete;

  const nghttp2_nv* data() const { return fields_.data(); }
  size_t size() const { return fields_.size(); }

 private:
  void Add(const Headers& headers);
  void Add(std::string_view name, std::string_view value);

  std::string status_;
  std::string length_;
  std::vector<nghttp2_nv> fields_;
};

}  // namespace sallyport::mitm::http2
