#include "guest/agent/pem.h"

#include <cstdint>

namespace sallyport::guest {
namespace {

constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view kEnd = "-----END CERTIFICATE-----";

int SixBits(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

bool IsSpace(char c) {
  return c == '\n' || c == '\r' || c == ' ' || c == '\t';
}

Result<std::string> DecodeBase64(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (IsSpace(c)) continue;
    if (c == '=') break;
    const int value = SixBits(c);
    if (value < 0) return Fail(Code::kInvalid, "a certificate that is not base64");
    bits = (bits << 6 | static_cast<uint32_t>(value)) & 0xffffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes.push_back(static_cast<char>(bits >> held));
  }
  if (bytes.empty()) return Fail(Code::kInvalid, "an empty certificate");
  return bytes;
}

}  // namespace

Result<std::string> CutCertificate(std::string_view& pem) {
  const size_t begin = pem.find(kBegin);
  if (begin == std::string_view::npos) return std::string();
  pem.remove_prefix(begin + kBegin.size());
  const size_t end = pem.find(kEnd);
  if (end == std::string_view::npos) return Fail(Code::kInvalid, "a certificate without an end");
  const std::string_view body = pem.substr(0, end);
  pem.remove_prefix(end + kEnd.size());
  return DecodeBase64(body);
}

Result<std::string> FirstCertificate(std::string_view pem) {
  auto der = CutCertificate(pem);
  if (der && der->empty()) return Fail(Code::kInvalid, "no certificate");
  return der;
}

}  // namespace sallyport::guest
