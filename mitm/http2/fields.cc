#include "mitm/http2/fields.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mitm/http1/fields.h"
#include "mitm/limits.h"
#include "mitm/request_target.h"

namespace sallyport::mitm::http2 {
namespace {

// RFC 7541, 4.1: what a field counts besides its bytes.
constexpr size_t kFieldOverhead = 32;

bool IsUpper(char c) {
  return c >= 'A' && c <= 'Z';
}

/// RFC 9113, 8.2.1: lower case, and no colon, which no token has.
bool IsName(std::string_view text) {
  return IsToken(text) && std::none_of(text.begin(), text.end(), IsUpper);
}

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}

bool IsValue(std::string_view text) {
  return IsFieldValue(text) && (text.empty() || (!IsSpace(text.front()) && !IsSpace(text.back())));
}

/// RFC 9113, 8.2.2.
bool IsConnectionSpecific(std::string_view name) {
  static constexpr std::array<std::string_view, 5> kNames{
      "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

/// Fields of responses whose values are credentials.
bool IsSensitive(std::string_view name) {
  static constexpr std::array<std::string_view, 9> kNames{
      "set-cookie",   "set-cookie2", "authorization", "www-authenticate",    "authentication-info",
      "x-auth-token", "x-api-key",   "x-csrf-token",  "x-amz-security-token"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [name](std::string_view known) { return EqualsIgnoreCase(known, name); });
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

uint8_t* Bytes(std::string_view text) {
  // nghttp2 copies and never writes.
  return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
}

}  // namespace

void RequestFields::Add(std::string_view name, std::string_view value) {
  size_ += name.size() + value.size() + kFieldOverhead;
  if (size_ > kMaxHeadBytes) Fail(431, "the head is larger than 64 KiB");
  if (error_) return;
  if (!IsValue(value)) return Fail(400, "a field with characters that may not stand in it");
  if (name.starts_with(':')) return AddPseudo(name, value);
  regular_ = true;
  AddRegular(name, value);
}

void RequestFields::AddPseudo(std::string_view name, std::string_view value) {
  if (regular_) return Fail(400, "a pseudo-header field behind the others");
  std::optional<std::string>* place = nullptr;
  if (name == ":method") place = &method_;
  if (name == ":scheme") place = &request_scheme_;
  if (name == ":authority") place = &authority_;
  if (name == ":path") place = &path_;
  // :protocol among them: extended CONNECT (RFC 8441) is not offered.
  if (place == nullptr) return Fail(400, "a pseudo-header field that no request has");
  if (*place) return Fail(400, "a pseudo-header field that stands twice");
  *place = value;
}

void RequestFields::AddRegular(std::string_view name, std::string_view value) {
  if (!IsName(name)) return Fail(400, "a field name with characters that may not stand in it");
  if (IsConnectionSpecific(name)) return Fail(400, "a field that belongs to HTTP/1 connections");
  if (name == "te" && !EqualsIgnoreCase(value, "trailers")) {
    return Fail(400, "a TE field that says more than trailers");
  }
  if (name == "cookie" && cookie_ != 0) return AddCookie(value);
  if (headers_.fields().size() >= kMaxFields) {
    return Fail(431, "more than 100 fields in the head");
  }
  headers_.Add(name, value);
  if (name == "cookie") cookie_ = headers_.fields().size();
}

/// RFC 9113, 8.2.3: one cookie field may come as several.
void RequestFields::AddCookie(std::string_view value) {
  headers_.fields()[cookie_ - 1].value.append("; ").append(value);
}

std::optional<ProtocolError> RequestFields::Finish(Body body) {
  if (!error_) error_ = Interpret(body);
  if (error_) {
    request_ = {};
    if (method_ && IsMethod(*method_)) request_.head.method = *method_;
  }
  return error_;
}

std::optional<ProtocolError> RequestFields::CheckPseudo() const {
  if (!method_ || !IsMethod(*method_)) return ProtocolError{400, "no method, or an unknown one"};
  if (*method_ == "CONNECT") return std::nullopt;  // Refused further up, with a readable answer.
  if (!request_scheme_ || *request_scheme_ != scheme_) {
    return ProtocolError{400, "a scheme that is not this connection's"};
  }
  if (!path_ || !(path_->starts_with('/') || path_ == "*")) {
    return ProtocolError{400, "a request target that is not a path"};
  }
  if (path_->size() > kMaxTargetBytes) {
    return ProtocolError{414, "the request target is longer than 16 KiB"};
  }
  return std::nullopt;
}

std::optional<ProtocolError> RequestFields::Interpret(Body body) {
  if (auto error = CheckPseudo()) return error;
  http1::HopFields hop;
  if (auto error = http1::TakeHopFields(http1::Side::kRequest, 1, headers_, hop)) return error;
  if (auto error = TakeAuthority(hop.host)) return error;
  RequestHead& head = request_.head;
  head.method = std::move(*method_);
  head.scheme = scheme_;
  const bool connect = head.method == "CONNECT";
  if (auto error = TakeTarget(connect ? "/" : std::string_view(*path_), head)) {
    method_ = std::move(head.method);
    return error;
  }
  head.headers = std::move(headers_);
  if (hop.accepts_trailers) head.headers.Add("te", "trailers");
  request_.expects_continue = hop.expects_continue;
  if (hop.content_length) {
    request_.body = {BodyLength::Kind::kKnown, *hop.content_length};
    if (body == Body::kNone && *hop.content_length > 0) {
      method_ = std::move(head.method);
      return ProtocolError{400, "a Content-Length, and no body"};
    }
  } else if (body == Body::kFollows) {
    request_.body = {BodyLength::Kind::kUnknown, 0};
    if (!hop.trailers.empty()) head.headers.Add("trailer", hop.trailers);
  }
  return std::nullopt;
}

std::optional<ProtocolError> RequestFields::TakeAuthority(const std::optional<std::string>& host) {
  if (!authority_ && !host) return ProtocolError{400, "neither :authority nor Host"};
  const uint16_t default_port = scheme_ == "https" ? 443 : 80;
  if (authority_ && host && *authority_ != *host &&
      !SameAuthority(*authority_, *host, default_port)) {
    return ProtocolError{400, "an :authority for another host than the Host field"};
  }
  request_.head.authority = authority_ ? *authority_ : *host;
  return std::nullopt;
}

void RequestFields::Fail(int status, const char* detail) {
  if (error_) return;
  error_ = ProtocolError{status, detail};
  headers_ = {};
}

std::optional<ProtocolError> CheckTrailer(std::string_view name, std::string_view value) {
  if (IsName(name) && IsValue(value) && !IsConnectionSpecific(name)) return std::nullopt;
  return ProtocolError{400, "a trailer field that may not stand there"};
}

ResponseFields::ResponseFields(const ResponseHead& head, BodyLength body)
    : status_(std::to_string(head.status)) {
  fields_.reserve(head.headers.fields().size() + 2);
  Add(":status", status_);
  Add(head.headers);
  if (body.kind == BodyLength::Kind::kKnown) {
    length_ = std::to_string(body.bytes);
    Add("content-length", length_);
  }
}

void ResponseFields::Add(const Headers& headers) {
  for (const HeaderField& field : headers.fields()) {
    if (http1::IsHopField(field.name)) continue;
    Add(field.name, Trimmed(field.value));
  }
}

void ResponseFields::Add(std::string_view name, std::string_view value) {
  const int flags = IsSensitive(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
  // nghttp2 makes the name lower case in its copy.
  fields_.push_back(
      {Bytes(name), Bytes(value), name.size(), value.size(), static_cast<uint8_t>(flags)});
}

}  // namespace sallyport::mitm::http2
