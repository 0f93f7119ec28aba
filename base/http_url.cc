#include "base/http_url.h"

#include <algorithm>
#include <utility>

namespace sallyport {

namespace {

constexpr uint16_t DefaultPort(bool tls) {
  return tls ? 443 : 80;
}

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

/// A host may be a name in other scripts (IDNA), which ParseAuthority turns into its canonical form.
bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f;
  });
}

}  // namespace

Result<HttpUrl> HttpUrl::Parse(std::string_view text) {
  constexpr std::string_view kSecure = "https://";
  constexpr std::string_view kPlain = "http://";
  if (HasControl(text)) return Fail(Code::kInvalid, "a URL is printable, without spaces");
  if (!text.starts_with(kSecure) && !text.starts_with(kPlain)) {
    return Fail(Code::kInvalid, "a URL begins with https://");
  }
  HttpUrl url;
  url.tls = text.starts_with(kSecure);
  text.remove_prefix(url.tls ? kSecure.size() : kPlain.size());
  if (text.find('#') != text.npos)
    return Fail(Code::kInvalid, "a URL with a fragment ('#') names no server's resource");
  const size_t end = std::min(text.find_first_of("/?"), text.size());
  if (!IsVisible(text.substr(end))) {
    return Fail(Code::kInvalid, "behind the host a URL is printable ASCII: encode the rest as %XX");
  }
  auto authority = ParseAuthority(text.substr(0, end));
  if (!authority) return tl::unexpected(std::move(authority).error());
  url.host = std::move(authority->host);
  url.port = authority->port.value_or(DefaultPort(url.tls));
  url.target = text.substr(end);
  if (!url.target.starts_with('/')) url.target.insert(0, "/");
  return url;
}

std::string HttpUrl::Authority() const {
  const std::string name = sallyport::ToString(host);
  return port == DefaultPort(tls) ? name : name + ":" + std::to_string(port);
}

std::string HttpUrl::ToString() const {
  return (tls ? "https://" : "http://") + Authority() + target;
}

}  // namespace sallyport
