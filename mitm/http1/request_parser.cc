#include "mitm/http1/request_parser.h"

#include <algorithm>
#include <utility>

#include "mitm/http1/fields.h"
#include "mitm/request_target.h"
#include "mitm/websocket/handshake.h"

namespace sallyport::mitm::http1 {
namespace {

using Kind = MessageEvent::Kind;

uint16_t DefaultPort(RequestParser::Scheme scheme) {
  return scheme == RequestParser::Scheme::kHttps ? 443 : 80;
}

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && EqualsIgnoreCase(text.substr(0, prefix.size()), prefix);
}

}  // namespace

MessageEvent RequestParser::Next(std::string_view& input, size_t max_body) {
  if (failed_) return {Kind::kError, {}};
  if (!in_body_) return ReadHead(input);
  const BodyDecoder::Step step = body_.Next(input, max_body);
  switch (step.kind) {
    case BodyDecoder::Step::Kind::kMore:
      return {};
    case BodyDecoder::Step::Kind::kPiece:
      return {Kind::kBody, step.piece};
    case BodyDecoder::Step::Kind::kEnd:
      in_body_ = false;
      if (auto error = CheckRequestTrailers(body_.trailers())) return Fail(*std::move(error));
      return {Kind::kEnd, {}};
    case BodyDecoder::Step::Kind::kError:
      break;
  }
  return Fail({400, body_.error()});
}

MessageEvent RequestParser::ReadHead(std::string_view& input) {
  switch (reader_.Feed(input)) {
    case HeadReader::Outcome::kMore:
      return {};
    case HeadReader::Outcome::kError:
      return Fail(reader_.error());
    case HeadReader::Outcome::kHead:
      break;
  }
  if (auto error = Interpret(reader_.head())) return Fail(std::move(*error));
  in_body_ = true;
  return {Kind::kHead, {}};
}

std::optional<ProtocolError> RequestParser::Interpret(RawHead& raw) {
  HopFields hop;
  if (auto error = TakeHopFields(Side::kRequest, raw.minor_version, raw.headers, hop)) return error;
  if (!hop.host) return ProtocolError{400, "no Host field"};
  request_ = {};
  request_.head.method = std::move(raw.method);
  request_.head.scheme = scheme_ == Scheme::kHttps ? "https" : "http";
  request_.head.headers = std::move(raw.headers);
  if (hop.accepts_trailers) request_.head.headers.Add("te", "trailers");
  if (auto error = SplitTarget(std::move(raw.target), *hop.host)) return error;
  request_.head.authority = std::move(*hop.host);
  request_.expects_continue = hop.expects_continue;
  const bool body = hop.chunked || hop.content_length.value_or(0) > 0;
  if (raw.minor_version > 0 && hop.upgrade && !body &&
      EqualsIgnoreCase(hop.upgrade_to, "websocket")) {
    request_.websocket_key = websocket::KeyOf(request_.head);
  }
  if (request_.websocket_key) request_.head.headers.Add("Upgrade", "websocket");
  minor_version_ = raw.minor_version;
  keep_alive_ = raw.minor_version > 0 && !hop.close;

  if (hop.chunked) {
    request_.body = {BodyLength::Kind::kUnknown, 0};
    if (!hop.trailers.empty()) request_.head.headers.Add("Trailer", hop.trailers);
    body_.Start(BodyDecoder::Framing::kChunked, 0);
  } else if (hop.content_length) {
    request_.body = {BodyLength::Kind::kKnown, *hop.content_length};
    body_.Start(BodyDecoder::Framing::kLength, *hop.content_length);
  } else {
    body_.Start(BodyDecoder::Framing::kNone, 0);
  }
  return std::nullopt;
}

std::optional<ProtocolError> RequestParser::SplitTarget(std::string target,
                                                        const std::string& host) {
  RequestHead& head = request_.head;
  if (head.method == "CONNECT") {  // In authority form; refused further up, with a readable answer.
    head.path = "/";
    return std::nullopt;
  }
  std::string_view rest = target;
  if (!rest.starts_with('/') && rest != "*") {
    if (auto error = TakeAbsolute(rest, host)) return error;
  }
  return TakeTarget(rest, head);
}

/// Takes scheme and authority off an absolute target.
std::optional<ProtocolError> RequestParser::TakeAbsolute(std::string_view& target,
                                                         const std::string& host) {
  const std::string_view prefix = scheme_ == Scheme::kHttps ? "https://" : "http://";
  if (!StartsWithIgnoreCase(target, prefix)) {
    return ProtocolError{400,
                         "a request target that is neither a path nor of this connection's scheme"};
  }
  target.remove_prefix(prefix.size());
  const size_t end = std::min(target.find_first_of("/?"), target.size());
  if (!SameAuthority(target.substr(0, end), host, DefaultPort(scheme_))) {
    return ProtocolError{400, "a request target for another host than the Host field"};
  }
  target.remove_prefix(end);
  return std::nullopt;
}

MessageEvent RequestParser::Fail(ProtocolError error) {
  failed_ = true;
  error_ = std::move(error);
  return {Kind::kError, {}};
}

}  // namespace sallyport::mitm::http1
