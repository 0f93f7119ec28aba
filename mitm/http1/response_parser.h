#pragma once

#include <optional>
#include <string_view>

#include "mitm/http1/body_decoder.h"
#include "mitm/http1/head_reader.h"
#include "mitm/message.h"

namespace sallyport::mitm::http1 {

/// Reads the responses that a server sends on one connection. Does no I/O, as RequestParser.
///
///     (kHead of an interim response)* kHead kBody* kEnd
class ResponseParser {
 public:
  ResponseParser() : reader_(HeadReader::Kind::kResponse) {}

  /// What the request asked for beside its answer.
  enum class Upgrade { kNone, kWebSocket };
  /// Begins the response to a request with METHOD, which decides whether a body follows.
  void Begin(std::string_view method, Upgrade upgrade = Upgrade::kNone);

  /// Takes what it settles off INPUT. After a head with status 101 what is left is not HTTP.
  /// kWouldBlock: all of INPUT was taken, more is needed.
  MessageEvent Next(std::string_view& input, size_t max_body);
  /// The connection ended: kEnd when that completes the response, else kBroken.
  MessageEvent ConnectionEnded();

  /// After kHead.
  Response& response() { return response_; }
  /// After kEnd: trailers, cleaned of what may not stand there.
  Headers& trailers() { return body_.trailers(); }
  /// After kEnd: whether another request may be sent.
  bool keep_alive() const { return keep_alive_; }
  const ProtocolError& error() const { return error_; }
  /// Whether a byte of the response has been seen.
  bool begun() const { return begun_; }

 private:
  MessageEvent ReadHead(std::string_view& input);
  std::optional<ProtocolError> Interpret(RawHead& raw);
  MessageEvent Fail(ProtocolError error);

  HeadReader reader_;
  BodyDecoder body_;
  bool to_head_ = false;
  Upgrade upgrade_ = Upgrade::kNone;
  bool in_body_ = false;
  bool begun_ = false;
  bool failed_ = false;
  bool keep_alive_ = true;
  Response response_;
  ProtocolError error_;
};

}  // namespace sallyport::mitm::http1
