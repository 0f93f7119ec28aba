#include "mitm/http1/response_parser.h"

#include <utility>

#include "mitm/http1/fields.h"

namespace sallyport::mitm::http1 {

using Kind = MessageEvent::Kind;

void ResponseParser::Begin(std::string_view method, Upgrade upgrade) {
  upgrade_ = upgrade;
  to_head_ = method == "HEAD";
  in_body_ = begun_ = false;
  keep_alive_ = true;
}

MessageEvent ResponseParser::Next(std::string_view& input, size_t max_body) {
  if (failed_) return {Kind::kError, {}};
  if (!input.empty()) begun_ = true;
  if (!in_body_) return ReadHead(input);
  const BodyDecoder::Step step = body_.Next(input, max_body);
  switch (step.kind) {
    case BodyDecoder::Step::Kind::kMore:
      return {};
    case BodyDecoder::Step::Kind::kPiece:
      return {Kind::kBody, step.piece};
    case BodyDecoder::Step::Kind::kEnd:
      in_body_ = false;
      CleanTrailers(body_.trailers());
      return {Kind::kEnd, {}};
    case BodyDecoder::Step::Kind::kError:
      break;
  }
  return Fail({502, body_.error()});
}

MessageEvent ResponseParser::ConnectionEnded() {
  keep_alive_ = false;
  if (in_body_ && body_.ends_with_connection()) {
    in_body_ = false;
    return {Kind::kEnd, {}};
  }
  return {Kind::kBroken, {}};
}

MessageEvent ResponseParser::ReadHead(std::string_view& input) {
  switch (reader_.Feed(input)) {
    case HeadReader::Outcome::kMore:
      return {};
    case HeadReader::Outcome::kError:
      return Fail(reader_.error());
    case HeadReader::Outcome::kHead:
      break;
  }
  if (auto error = Interpret(reader_.head())) return Fail(std::move(*error));
  in_body_ = !response_.interim();
  return {Kind::kHead, {}};
}

std::optional<ProtocolError> ResponseParser::Interpret(RawHead& raw) {
  HopFields hop;
  if (auto error = TakeHopFields(Side::kResponse, raw.minor_version, raw.headers, hop))
    return error;
  response_ = {};
  response_.head.status = raw.status;
  response_.head.reason = std::move(raw.reason);
  response_.head.headers = std::move(raw.headers);
  if (raw.status == 101) {
    const bool agreed = upgrade_ == Upgrade::kWebSocket && raw.minor_version > 0 && hop.upgrade &&
                        EqualsIgnoreCase(hop.upgrade_to, "websocket");
    if (!agreed) return ProtocolError{502, "a switch of protocols that nobody asked for"};
    keep_alive_ = false;
  }
  if (response_.interim()) return std::nullopt;

  keep_alive_ = !hop.close && (raw.minor_version > 0 || hop.keep_alive);
  if (raw.status != 204 && hop.content_length) {
    response_.body = {BodyLength::Kind::kKnown, *hop.content_length};
  } else if (raw.status != 204 && hop.chunked) {
    response_.body = {BodyLength::Kind::kUnknown, 0};
  }
  if (to_head_ || raw.status == 204 || raw.status == 304) {
    if (raw.status == 304 && hop.chunked) response_.body = {};
    body_.Start(BodyDecoder::Framing::kNone, 0);
  } else if (hop.chunked) {
    body_.Start(BodyDecoder::Framing::kChunked, 0);
  } else if (hop.content_length) {
    body_.Start(BodyDecoder::Framing::kLength, *hop.content_length);
  } else {
    response_.body = {BodyLength::Kind::kUnknown, 0};
    keep_alive_ = false;
    body_.Start(BodyDecoder::Framing::kUntilClose, 0);
  }
  return std::nullopt;
}

MessageEvent ResponseParser::Fail(ProtocolError error) {
  failed_ = true;
  keep_alive_ = false;
  error_ = std::move(error);
  error_.status = 502;
  return {Kind::kError, {}};
}

}  // namespace sallyport::mitm::http1
