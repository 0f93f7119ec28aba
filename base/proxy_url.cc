#include "base/proxy_url.h"

#include <algorithm>
#include <cstring>

namespace sallyport {
namespace {

constexpr uint16_t kDefaultPort = 80;
constexpr size_t kMaxCredentials = 1024;  // Decoded. Proxies take far less.

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// Appends what TEXT stands for to OUT, which has room for it. False when it stands for nothing.
bool PercentDecode(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? DigitOf(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? DigitOf(text[i + 2]) : -1;
    if (high < 0 || low < 0) return false;
    out.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return true;
}

bool IsCredentials(std::string_view text) {
  return text.size() <= kMaxCredentials && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
         });
}

/// What stands before the '@'. RFC 7617: a user name has no colon, and there is always one after
/// it.
bool ReadCredentials(std::string_view text, std::string& credentials) {
  credentials.reserve(text.size() + 1);
  if (!PercentDecode(text, credentials) || !IsCredentials(credentials)) {
    explicit_bzero(credentials.data(), credentials.size());
    return false;
  }
  if (credentials.find(':') == std::string::npos) credentials.push_back(':');
  return true;
}

}  // namespace

Result<ProxyUrl> ProxyUrl::Parse(std::string_view text) {
  constexpr std::string_view kHttp = "http://";
  if (text.starts_with(kHttp)) {
    text.remove_prefix(kHttp.size());
  } else if (text.find("://") != text.npos) {
    return Fail(Code::kInvalid, "only http:// proxies are supported");
  }
  while (text.ends_with('/')) text.remove_suffix(1);
  const size_t at = text.rfind('@');
  auto authority = ParseAuthority(at == text.npos ? text : text.substr(at + 1));
  if (!authority) {
    return Fail(Code::kInvalid,
                "a proxy is written \"http://proxy.example:3128\", or with \"user:password@\" "
                "before its host");
  }
  ProxyUrl url{.host = std::move(authority->host),
               .port = authority->port.value_or(kDefaultPort),
               .credentials = {}};
  if (at != text.npos && !ReadCredentials(text.substr(0, at), url.credentials)) {
    return Fail(Code::kInvalid, "the proxy's user and password are not well-formed");
  }
  return url;
}

}  // namespace sallyport
