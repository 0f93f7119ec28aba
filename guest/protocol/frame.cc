#include "guest/protocol/frame.h"

#include "base/check.h"

namespace sallyport::guest {
namespace {

constexpr uint8_t kLastType = static_cast<uint8_t>(FrameType::kDatagram);
constexpr uint8_t kKnownFlags = kFlagEnd | kFlagMore;

void AppendLittleEndian(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

uint32_t LittleEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  return value;
}

struct Header {
  uint32_t length;
  uint32_t stream;
  uint8_t type;
  uint8_t flags;
  uint32_t reserved;
  uint32_t credit;
};

Header ParseHeader(std::string_view bytes) {
  return {.length = LittleEndian(bytes.substr(0, 4)),
          .stream = LittleEndian(bytes.substr(4, 4)),
          .type = static_cast<uint8_t>(bytes[8]),
          .flags = static_cast<uint8_t>(bytes[9]),
          .reserved = LittleEndian(bytes.substr(10, 2)),
          .credit = LittleEndian(bytes.substr(12, 4))};
}

bool Acceptable(const Header& header) {
  return header.length <= kMaxPayload && header.type != 0 && header.type <= kLastType &&
         (header.flags & ~kKnownFlags) == 0 && header.reserved == 0;
}

}  // namespace

bool IsBulk(FrameType type) {
  return type == FrameType::kStdin || type == FrameType::kStdout || type == FrameType::kStderr ||
         type == FrameType::kData;
}

void AppendFrame(std::string& out, const Frame& frame) {
  AppendFrame(out, frame.type, frame.stream, frame.payload, frame.flags, frame.credit);
}

void AppendFrame(std::string& out, FrameType type, uint32_t stream, std::string_view payload,
                 uint8_t flags, uint32_t credit) {
  SALLYPORT_CHECK(payload.size() <= kMaxPayload);
  AppendLittleEndian(out, payload.size(), 4);
  AppendLittleEndian(out, stream, 4);
  AppendLittleEndian(out, static_cast<uint8_t>(type), 1);
  AppendLittleEndian(out, flags, 1);
  AppendLittleEndian(out, 0, 2);
  AppendLittleEndian(out, credit, 4);
  out.append(payload);
}

void FrameDecoder::Feed(std::string_view bytes) {
  if (broken_) return;
  buffer_.erase(0, used_);  // What is left is less than a frame, if the caller took all there were.
  used_ = 0;
  buffer_.append(bytes);
}

Result<std::optional<Frame>> FrameDecoder::Next() {
  if (broken_) return Fail(Code::kInvalid, "the frame stream is broken");
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  if (rest.size() < kHeaderSize) return std::nullopt;
  const Header header = ParseHeader(rest);
  if (!Acceptable(header)) {
    broken_ = true;
    return Fail(Code::kInvalid, "a frame with a header that breaks the format");
  }
  if (rest.size() - kHeaderSize < header.length) return std::nullopt;
  used_ += kHeaderSize + header.length;
  return Frame{.type = static_cast<FrameType>(header.type),
               .stream = header.stream,
               .flags = header.flags,
               .credit = header.credit,
               .payload = std::string(rest.substr(kHeaderSize, header.length))};
}

}  // namespace sallyport::guest
