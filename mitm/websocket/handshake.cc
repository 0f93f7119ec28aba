#include "mitm/websocket/handshake.h"

#include <openssl/base64.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <vector>

namespace sallyport::mitm::websocket {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t kKeyBytes = 16;
constexpr size_t kKeyText = 24;

std::string Base64(const uint8_t* bytes, size_t size) {
  std::string text(4 * ((size + 2) / 3) + 1, '\0');
  text.resize(EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.data()), bytes, size));
  return text;
}

bool IsKey(const std::string& text) {
  uint8_t bytes[kKeyText];
  size_t size = 0;
  return text.size() == kKeyText &&
         EVP_DecodeBase64(bytes, &size, sizeof bytes, reinterpret_cast<const uint8_t*>(text.data()),
                          text.size()) == 1 &&
         size == kKeyBytes;
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// The names of the extensions in a head, without their parameters. A comma inside a quoted
/// parameter makes names of nonsense, which were not offered.
std::vector<std::string_view> ExtensionsOf(const Headers& headers) {
  std::vector<std::string_view> names;
  for (std::string_view list : headers.FindAll("sec-websocket-extensions")) {
    while (!list.empty()) {
      const size_t comma = std::min(list.find(','), list.size());
      const std::string_view name = Trimmed(list.substr(0, std::min(list.find(';'), comma)));
      if (!name.empty()) names.push_back(name);
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
  }
  return names;
}

}  // namespace

std::optional<std::string> KeyOf(const RequestHead& head) {
  const std::string* version = head.headers.Find("sec-websocket-version");
  const std::string* key = head.headers.Find("sec-websocket-key");
  if (head.method != "GET" || version == nullptr || *version != "13" || key == nullptr) {
    return std::nullopt;
  }
  if (head.headers.Count("sec-websocket-version") > 1) return std::nullopt;
  if (head.headers.Count("sec-websocket-key") > 1 || !IsKey(*key)) return std::nullopt;
  return *key;
}

std::string MakeKey() {
  uint8_t bytes[kKeyBytes];
  RAND_bytes(bytes, sizeof bytes);
  return Base64(bytes, sizeof bytes);
}

std::string AcceptOf(std::string_view key) {
  const std::string text = std::string(key).append(kGuid);
  uint8_t digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest);
  return Base64(digest, sizeof digest);
}

void PrepareRequest(RequestHead& head, std::string_view key, Extensions extensions) {
  head.headers.Set("Upgrade", "websocket");
  head.headers.Set("Sec-WebSocket-Version", "13");
  head.headers.Set("Sec-WebSocket-Key", key);
  if (extensions == Extensions::kNone) head.headers.Remove("sec-websocket-extensions");
}

std::optional<std::string> CheckAnswer(const ResponseHead& head, const RequestHead& request,
                                       std::string_view key) {
  const std::string* accept = head.headers.Find("sec-websocket-accept");
  if (accept == nullptr || head.headers.Count("sec-websocket-accept") > 1 ||
      *accept != AcceptOf(key)) {
    return "its Sec-WebSocket-Accept does not answer the request";
  }
  const std::vector<std::string_view> offered = ExtensionsOf(request.headers);
  for (const std::string_view name : ExtensionsOf(head.headers)) {
    if (std::find(offered.begin(), offered.end(), name) == offered.end()) {
      return "it uses an extension that was not offered";
    }
  }
  return std::nullopt;
}

}  // namespace sallyport::mitm::websocket
