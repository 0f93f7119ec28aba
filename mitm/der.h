#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

// Writing DER, as far as a certificate needs it. Every element is a string; nothing can fail.

namespace sallyport::mitm::der {

enum Tag : unsigned char {
  kBoolean = 0x01,
  kInteger = 0x02,
  kBitString = 0x03,
  kOctetString = 0x04,
  kOid = 0x06,
  kUtf8String = 0x0c,
  kUtcTime = 0x17,
  kGeneralizedTime = 0x18,
  kSequence = 0x30,
  kSet = 0x31,
};

/// The tag of a context-specific element: [NUMBER] of primitive or constructed form.
constexpr unsigned char Context(unsigned char number) {
  return 0x80 | number;
}
constexpr unsigned char ConstructedContext(unsigned char number) {
  return 0xa0 | number;
}

/// One element with the joined PARTS as its content.
inline std::string Element(unsigned char tag, std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string out;
  out.reserve(size + 6);
  out += static_cast<char>(tag);
  if (size < 0x80) {
    out += static_cast<char>(size);
  } else {
    const int bytes = size < 0x100 ? 1 : size < 0x10000 ? 2 : 4;
    out += static_cast<char>(0x80 | bytes);
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
      out += static_cast<char>((size >> shift) & 0xff);
    }
  }
  for (const std::string_view part : parts) out.append(part);
  return out;
}

}  // namespace sallyport::mitm::der
