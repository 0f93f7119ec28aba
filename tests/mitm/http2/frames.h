#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Frames of HTTP/2 made by hand, good ones and others (RFC 9113, 4.1 and 6).

namespace sallyport::mitm::http2 {

enum FrameType : uint8_t {
  kDataFrame = 0,
  kHeadersFrame = 1,
  kPriorityFrame = 2,
  kResetFrame = 3,
  kSettingsFrame = 4,
  kPushFrame = 5,
  kPingFrame = 6,
  kGoawayFrame = 7,
  kWindowFrame = 8,
  kContinuationFrame = 9,
};

constexpr uint8_t kEndStream = 0x1;
constexpr uint8_t kAck = 0x1;
constexpr uint8_t kEndHeaders = 0x4;
constexpr uint8_t kPadded = 0x8;

inline std::string Number32(uint32_t number) {
  return {static_cast<char>(number >> 24), static_cast<char>(number >> 16),
          static_cast<char>(number >> 8), static_cast<char>(number)};
}

inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string frame = Number32(static_cast<uint32_t>(payload.size())).substr(1);
  frame += static_cast<char>(type);
  frame += static_cast<char>(flags);
  return frame + Number32(stream) + std::string(payload);
}

/// The connection preface with empty settings.
inline std::string Preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettingsFrame, 0, 0, "");
}

/// HPACK: an integer behind PREFIX bits, below FIRST (RFC 7541, 5.1).
inline std::string Integer(size_t number, int prefix, uint8_t first) {
  const size_t most = (size_t{1} << prefix) - 1;
  if (number < most) return {static_cast<char>(first | number)};
  std::string out{static_cast<char>(first | most)};
  for (number -= most; number >= 128; number /= 128) out += static_cast<char>(number % 128 + 128);
  return out + static_cast<char>(number);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

/// HPACK: literals without Huffman; entered into the table or not.
inline std::string Literals(const Fields& fields, bool indexed = false) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block += static_cast<char>(indexed ? 0x40 : 0x00);
    block += Integer(name.size(), 7, 0) + name + Integer(value.size(), 7, 0) + value;
  }
  return block;
}

/// The pseudo-header fields of a good request, and FIELDS.
inline Fields Asking(Fields fields = {}, const std::string& method = "GET") {
  Fields all{{":method", method}, {":scheme", "https"}, {":authority", "api.test"}, {":path", "/"}};
  all.insert(all.end(), fields.begin(), fields.end());
  return all;
}

/// A whole head without a body.
inline std::string Head(uint32_t stream, const Fields& fields, uint8_t flags = kEndStream) {
  return Frame(kHeadersFrame, static_cast<uint8_t>(flags | kEndHeaders), stream, Literals(fields));
}

inline std::string Data(uint32_t stream, std::string_view bytes, uint8_t flags = 0) {
  return Frame(kDataFrame, flags, stream, bytes);
}

inline std::string Reset(uint32_t stream, uint32_t code = 8) {
  return Frame(kResetFrame, 0, stream, Number32(code));
}

inline std::string OpenWindow(uint32_t stream, uint32_t by) {
  return Frame(kWindowFrame, 0, stream, Number32(by));
}

/// One setting, as SETTINGS frames hold them.
inline std::string Setting(uint16_t name, uint32_t value) {
  return std::string{static_cast<char>(name >> 8), static_cast<char>(name)} + Number32(value);
}

inline std::string Repeated(const std::string& text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

}  // namespace sallyport::mitm::http2
