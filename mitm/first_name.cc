#include "mitm/first_name.h"

#include <algorithm>
#include <utility>

#include "base/http_message.h"
#include "mitm/client_hello.h"
#include "mitm/limits.h"

namespace sallyport::mitm {

namespace {

constexpr size_t kMaxHead = 16 * 1024;  // Of a request, in which the host stands early.
constexpr char kTlsHandshake = 0x16;

// The value of the first Host field of HEAD, whose lines end as HTTP's or with a line feed alone.
std::optional<HostName> HostField(std::string_view head) {
  for (size_t at = head.find('\n'); at != head.npos; at = head.find('\n', at + 1)) {
    const std::string_view line = head.substr(at + 1, head.find('\n', at + 1) - at - 1);
    if (line.size() < 5 || !EqualsIgnoreCase(line.substr(0, 5), "host:")) continue;
    const size_t first = line.find_first_not_of(" \t", 5);
    if (first == line.npos) return std::nullopt;
    const auto authority =
        ParseAuthority(line.substr(first, line.find_last_not_of(" \t\r") + 1 - first));
    if (!authority) return std::nullopt;
    const auto* name = std::get_if<HostName>(&authority->host);
    return name != nullptr ? std::optional(*name) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

FirstName::FirstName() = default;
FirstName::~FirstName() = default;

bool FirstName::Feed(std::string_view bytes) {
  if (bytes.empty()) return false;
  size_ += bytes.size();
  if (!std::exchange(started_, true) && bytes.front() == kTlsHandshake) {
    hello_ = std::make_unique<ClientHelloReader>();
  }
  if (!hello_) return FeedHead(bytes);
  const auto state = hello_->Feed(bytes);
  if (state == ClientHelloReader::State::kComplete) name_ = hello_->names().sni;
  return state != ClientHelloReader::State::kIncomplete || size_ >= kMaxHelloBytes;
}

bool FirstName::FeedHead(std::string_view bytes) {
  head_ += bytes.substr(0, kMaxHead - head_.size());
  const size_t end = std::min(head_.find("\n\r\n"), head_.find("\n\n"));
  if (end == std::string::npos && head_.size() < kMaxHead) return false;
  name_ = HostField(std::string_view(head_).substr(0, end));
  return true;
}

}  // namespace sallyport::mitm
