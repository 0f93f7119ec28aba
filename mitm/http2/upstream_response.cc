#include "mitm/http2/upstream_response.h"

#include <charconv>

#include "mitm/http1/fields.h"
#include "mitm/limits.h"

namespace sallyport::mitm::http2 {
namespace {

constexpr size_t kFieldOverhead = 32;

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number >> 62 != 0) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

const char* ResponseReader::Field(std::string_view name, std::string_view value) {
  if (!in_block_) {
    in_block_ = true;
    bytes_ = fields_ = 0;
    if (!final_) {
      response_ = {};
      content_length_.reset();
    }
  }
  bytes_ += name.size() + value.size() + kFieldOverhead;
  if (bytes_ > (final_ ? kMaxTrailerBytes : kMaxHeadBytes) || ++fields_ > kMaxFields) {
    return "its fields are more than the gate takes";
  }
  if (name == ":status") return Status(value);
  if (name == "content-length" && !final_) {
    content_length_ = ParseNumber(value);
    return content_length_ ? nullptr : "its content-length is not a number";
  }
  // RFC 9113, 8.2.2 forbids those of the connection; the others are ours to write.
  if (http1::IsHopField(name)) return nullptr;
  (final_ ? trailers_ : response_.head.headers).Add(name, value);
  return nullptr;
}

const char* ResponseReader::Status(std::string_view value) {
  const auto status = ParseNumber(value);
  if (value.size() != 3 || !status || *status < 100 || *status > 599) {
    return "its status is not one";
  }
  if (*status == 101) return "it switches protocols, which HTTP/2 can't";
  response_.head.status = static_cast<int>(*status);
  return nullptr;
}

ResponseReader::Block ResponseReader::End(Stream stream) {
  in_block_ = false;
  if (final_) {
    http1::CleanTrailers(trailers_);
    return Block::kTrailers;
  }
  if (response_.interim()) return Block::kInterim;
  final_ = true;
  const int status = response_.head.status;
  const bool bodiless = to_head_ || status == 204 || status == 304;
  if (content_length_ && status != 204) {
    response_.body = {BodyLength::Kind::kKnown, *content_length_};
  } else if (!bodiless && stream == Stream::kGoesOn) {
    response_.body = {BodyLength::Kind::kUnknown, 0};
  }
  return Block::kFinal;
}

}  // namespace sallyport::mitm::http2
