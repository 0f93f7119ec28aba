#pragma once

#include <optional>
#include <string_view>

#include "mitm/http1/body_decoder.h"
#include "mitm/http1/head_reader.h"
#include "mitm/message.h"

namespace sallyport::mitm::http1 {

/// Reads requests, one after the other, from what a client sends on one connection. Does no I/O:
/// bytes go in, events come out, and the events are the same for every way of cutting the bytes.
///
///     kHead kBody* kEnd  kHead kEnd  ...  or kError, after which nothing more is read
class RequestParser {
 public:
  enum class Scheme { kHttp, kHttps };
  explicit RequestParser(Scheme scheme) : scheme_(scheme), reader_(HeadReader::Kind::kRequest) {}

  /// Takes what it settles off INPUT. kWouldBlock: all of INPUT was taken, more is needed.
  MessageEvent Next(std::string_view& input, size_t max_body);

  /// After kHead: the request. Its authority is as spelled in Host, which an absolute target
  /// agrees with; it has not been compared with anything else.
  Request& request() { return request_; }
  int minor_version() const { return minor_version_; }
  /// Whether the client lets the connection go on after this request.
  bool keep_alive() const { return keep_alive_; }
  /// After kEnd: its trailers, without a hop field; no others are cleaned away.
  const Headers& trailers() const { return body_.trailers(); }
  const ProtocolError& error() const { return error_; }
  /// Whether a request's first byte has been seen, and its head is not complete.
  bool in_head() const { return !in_body_ && reader_.begun(); }

 private:
  MessageEvent ReadHead(std::string_view& input);
  std::optional<ProtocolError> Interpret(RawHead& raw);
  std::optional<ProtocolError> SplitTarget(std::string target, const std::string& host);
  std::optional<ProtocolError> TakeAbsolute(std::string_view& target, const std::string& host);
  MessageEvent Fail(ProtocolError error);

  const Scheme scheme_;
  HeadReader reader_;
  BodyDecoder body_;
  bool in_body_ = false;
  bool failed_ = false;
  Request request_;
  int minor_version_ = 1;
  bool keep_alive_ = true;
  ProtocolError error_;
};

}  // namespace sallyport::mitm::http1
