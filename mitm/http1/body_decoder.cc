#include "mitm/http1/body_decoder.h"

#include <algorithm>

#include "mitm/limits.h"

namespace sallyport::mitm::http1 {
namespace {

// 60 bits: no sum of a size and anything else overflows.
constexpr size_t kMaxSizeDigits = 15;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view TrimSpace(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

void BodyDecoder::Start(Framing framing, uint64_t length) {
  framing_ = framing;
  state_ = State::kSize;
  left_ = framing == Framing::kLength ? length : 0;
  digits_ = extension_ = 0;
  trailer_bytes_.clear();
  trailers_ = {};
}

BodyDecoder::Step BodyDecoder::Next(std::string_view& input, size_t max) {
  switch (framing_) {
    case Framing::kNone:
      return {Step::Kind::kEnd, {}};
    case Framing::kLength:
      return left_ == 0 ? Step{Step::Kind::kEnd, {}} : Data(input, max);
    case Framing::kUntilClose:
      left_ = input.size();
      return Data(input, max);
    case Framing::kChunked:
      break;
  }
  while (state_ != State::kData && state_ != State::kTrailers) {
    if (input.empty()) return {};
    const char byte = input.front();
    input.remove_prefix(1);
    if (!ChunkByte(byte)) return {Step::Kind::kError, {}};
  }
  if (state_ == State::kTrailers) return Trailers(input);
  const Step step = Data(input, max);
  if (left_ == 0) state_ = State::kDataCr;
  return step;
}

BodyDecoder::Step BodyDecoder::Data(std::string_view& input, size_t max) {
  const uint64_t size = std::min<uint64_t>({input.size(), max, left_});
  if (size == 0) return {};
  const std::string_view piece = input.substr(0, size);
  input.remove_prefix(size);
  left_ -= size;
  return {Step::Kind::kPiece, piece};
}

/// One byte of chunk framing.
bool BodyDecoder::ChunkByte(char byte) {
  switch (state_) {
    case State::kSize:
      return SizeByte(byte);
    case State::kExtension:
      return ExtensionByte(byte);
    case State::kSizeLf:
      if (byte != '\n') return Fail("a chunk size that is not followed by CR LF");
      state_ = left_ > 0 ? State::kData : State::kTrailers;
      return true;
    case State::kDataCr:
      if (byte != '\r') return Fail("a chunk that is longer than its size");
      state_ = State::kDataLf;
      return true;
    case State::kDataLf:
      if (byte != '\n') return Fail("a chunk that is longer than its size");
      state_ = State::kSize;
      digits_ = extension_ = 0;
      return true;
    case State::kData:
    case State::kTrailers:
      break;
  }
  return Fail("");  // Not reached: Next() keeps these two from here.
}

bool BodyDecoder::SizeByte(char byte) {
  if (const int digit = HexDigit(byte); digit >= 0) {
    if (++digits_ > kMaxSizeDigits) return Fail("a chunk size with more than 15 digits");
    left_ = left_ * 16 + static_cast<unsigned>(digit);
    return true;
  }
  if (digits_ == 0) return Fail("a chunk size that is not a number");
  if (byte == '\r') {
    state_ = State::kSizeLf;
  } else if (byte == ';') {
    state_ = State::kExtension;
  } else {
    return Fail("a chunk size that is not a number");
  }
  return true;
}

bool BodyDecoder::ExtensionByte(char byte) {
  if (byte == '\r') {
    state_ = State::kSizeLf;
    return true;
  }
  if (!IsFieldValue({&byte, 1})) return Fail("a control character in a chunk extension");
  if (++extension_ > kMaxChunkExtension) return Fail("a chunk extension that is too long");
  return true;
}

/// Gathers the lines up to the empty one.
BodyDecoder::Step BodyDecoder::Trailers(std::string_view& input) {
  while (!input.empty()) {
    const size_t newline = input.find('\n');
    const size_t size = newline == std::string_view::npos ? input.size() : newline + 1;
    if (trailer_bytes_.size() + size > kMaxTrailerBytes) {
      Fail("trailers of more than 8 KiB");
      return {Step::Kind::kError, {}};
    }
    trailer_bytes_.append(input.substr(0, size));
    input.remove_prefix(size);
    if (trailer_bytes_ == "\r\n" || trailer_bytes_.ends_with("\r\n\r\n")) {
      return {ParseTrailers() ? Step::Kind::kEnd : Step::Kind::kError, {}};
    }
    if (trailer_bytes_ == "\n" || trailer_bytes_.ends_with("\n\n")) {
      Fail("a trailer line that does not end with CR LF");
      return {Step::Kind::kError, {}};
    }
  }
  return {};
}

bool BodyDecoder::ParseTrailers() {
  std::string_view rest = trailer_bytes_;
  while (rest != "\r\n") {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !IsToken(line.substr(0, colon)) ||
        !IsFieldValue(line.substr(colon + 1))) {
      return Fail("a trailer that is not a field");
    }
    if (trailers_.fields().size() >= kMaxFields) return Fail("more than 100 trailers");
    trailers_.Add(line.substr(0, colon), TrimSpace(line.substr(colon + 1)));
  }
  return true;
}

bool BodyDecoder::Fail(const char* error) {
  error_ = error;
  return false;
}

}  // namespace sallyport::mitm::http1
