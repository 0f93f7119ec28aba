#include "guest/protocol/cbor.h"

#include <limits>
#include <utility>

namespace sallyport::guest {
namespace {

enum Major : uint8_t {
  kUnsigned = 0,
  kNegative = 1,
  kBytes = 2,
  kText = 3,
  kArray = 4,
  kMap = 5,
  kSimple = 7
};

constexpr char kFalse = static_cast<char>(0xf4);
constexpr char kTrue = static_cast<char>(0xf5);
constexpr uint64_t kMaxInt = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

tl::unexpected<Error> Invalid(const char* what) {
  return Fail(Code::kInvalid, what);
}

uint8_t MajorOf(char head) {
  return static_cast<uint8_t>(static_cast<uint8_t>(head) >> 5);
}

// Bytes behind the head's first, by its low five bits; nothing for the reserved and indefinite
// ones.
constexpr int ArgumentBytes(uint8_t info) {
  return info < 24 ? 0 : info == 24 ? 1 : info == 25 ? 2 : info == 26 ? 4 : info == 27 ? 8 : -1;
}

// The smallest argument that needs BYTES; less must use a shorter form.
constexpr uint64_t LeastFor(int bytes) {
  return bytes == 0 ? 0 : bytes == 1 ? 24 : uint64_t{1} << (4 * bytes);
}

}  // namespace

void CborWriter::Int(int64_t value) {
  if (value >= 0) return Head(kUnsigned, static_cast<uint64_t>(value));
  Head(kNegative, static_cast<uint64_t>(-(value + 1)));
}

void CborWriter::Bool(bool value) {
  out_.push_back(value ? kTrue : kFalse);
}

void CborWriter::Bytes(std::string_view value) {
  Head(kBytes, value.size());
  out_.append(value);
}

void CborWriter::Text(std::string_view value) {
  Head(kText, value.size());
  out_.append(value);
}

void CborWriter::Array(size_t elements) {
  Head(kArray, elements);
}

void CborWriter::Map(size_t pairs) {
  Head(kMap, pairs);
}

void CborWriter::Head(uint8_t major, uint64_t argument) {
  uint8_t info = 27;
  if (argument < 24) {
    info = static_cast<uint8_t>(argument);
  } else if (argument < LeastFor(2)) {
    info = 24;
  } else if (argument < LeastFor(4)) {
    info = 25;
  } else if (argument < LeastFor(8)) {
    info = 26;
  }
  out_.push_back(static_cast<char>(major << 5 | info));
  for (int i = ArgumentBytes(info); i-- > 0;) {
    out_.push_back(static_cast<char>((argument >> (8 * i)) & 0xff));
  }
}

Result<uint64_t> CborReader::Head(uint8_t major) {
  if (rest_.empty()) return Invalid("CBOR: the input ends early");
  if (MajorOf(rest_[0]) != major) return Invalid("CBOR: not the expected type");
  const uint8_t info = static_cast<uint8_t>(rest_[0]) & 0x1f;
  const int bytes = ArgumentBytes(info);
  if (bytes < 0) return Invalid("CBOR: not of definite length");
  if (rest_.size() < 1 + static_cast<size_t>(bytes)) return Invalid("CBOR: the input ends early");
  uint64_t argument = bytes == 0 ? info : 0;
  for (size_t i = 1; i <= static_cast<size_t>(bytes); ++i) {
    argument = argument << 8 | static_cast<uint8_t>(rest_[i]);
  }
  if (argument < LeastFor(bytes)) return Invalid("CBOR: not in the shortest form");
  rest_.remove_prefix(1 + static_cast<size_t>(bytes));
  return argument;
}

Result<int64_t> CborReader::Int() {
  const bool negative = !rest_.empty() && MajorOf(rest_[0]) == kNegative;
  const auto argument = Head(negative ? kNegative : kUnsigned);
  if (!argument) return tl::unexpected(argument.error());
  if (*argument > kMaxInt) return Invalid("CBOR: an integer beyond 64 bits");
  const auto value = static_cast<int64_t>(*argument);
  return negative ? -value - 1 : value;
}

Result<bool> CborReader::Bool() {
  if (rest_.empty() || (rest_[0] != kTrue && rest_[0] != kFalse))
    return Invalid("CBOR: not a boolean");
  const bool value = rest_[0] == kTrue;
  rest_.remove_prefix(1);
  return value;
}

Result<std::string_view> CborReader::Bytes() {
  return String(kBytes);
}

Result<std::string_view> CborReader::Text() {
  return String(kText);
}

Result<std::string_view> CborReader::String(uint8_t major) {
  const auto length = Head(major);
  if (!length) return tl::unexpected(length.error());
  if (*length > rest_.size()) return Invalid("CBOR: a string longer than the input");
  const std::string_view value = rest_.substr(0, static_cast<size_t>(*length));
  rest_.remove_prefix(value.size());
  return value;
}

Result<size_t> CborReader::Array() {
  return Count(kArray, 1);
}

Result<size_t> CborReader::Map() {
  return Count(kMap, 2);
}

Result<size_t> CborReader::Count(uint8_t major, size_t least_bytes_each) {
  const auto count = Head(major);
  if (!count) return tl::unexpected(count.error());
  if (*count > rest_.size() / least_bytes_each)
    return Invalid("CBOR: more items than the input can hold");
  return static_cast<size_t>(*count);
}

Status CborReader::Skip() {
  return SkipItem(kMaxDepth);
}

Status CborReader::SkipItem(int depth) {
  if (rest_.empty()) return Invalid("CBOR: the input ends early");
  switch (MajorOf(rest_[0])) {
    case kUnsigned:
    case kNegative:
      return Discard(Int());
    case kBytes:
      return Discard(Bytes());
    case kText:
      return Discard(Text());
    case kSimple:
      return Discard(Bool());
    case kArray:
      return SkipItems(Array(), 1, depth);
    case kMap:
      return SkipItems(Map(), 2, depth);
    default:
      return Invalid("CBOR: a type that the protocol doesn't use");
  }
}

Status CborReader::SkipItems(const Result<size_t>& count, size_t items_each, int depth) {
  if (!count) return tl::unexpected(count.error());
  if (depth == 0) return Invalid("CBOR: nested too deeply");
  for (size_t i = 0; i < *count * items_each; ++i) {
    if (Status skipped = SkipItem(depth - 1); !skipped) return skipped;
  }
  return {};
}

template <class T>
Status CborReader::Discard(const Result<T>& item) {
  if (!item) return tl::unexpected(item.error());
  return {};
}

Status CborReader::End() const {
  if (!rest_.empty()) return Invalid("CBOR: bytes behind the last item");
  return {};
}

}  // namespace sallyport::guest
