#include "mitm/request_target.h"

#include <algorithm>

#include "base/host_name.h"

namespace sallyport::mitm {
namespace {

// A target's bytes: visible, and no fragment. What is not ASCII passes, as servers take it.
bool IsTargetChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte != 0x7f && c != '#';
}

constexpr size_t kMaxMethod = 32;

bool IsMethodChar(char c) {
  return (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

}  // namespace

bool IsMethod(std::string_view text) {
  return !text.empty() && text.size() <= kMaxMethod && text != "PRI" &&
         std::all_of(text.begin(), text.end(), IsMethodChar);
}

std::optional<ProtocolError> TakeTarget(std::string_view target, RequestHead& head) {
  if (!std::all_of(target.begin(), target.end(), IsTargetChar)) {
    return ProtocolError{400, "a request target with characters that may not stand in it"};
  }
  if (target == "*") {
    if (head.method != "OPTIONS") return ProtocolError{400, "a target '*' without OPTIONS"};
    head.path = target;
    return std::nullopt;
  }
  const size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  head.path = !path.empty() ? path : target.empty() && head.method == "OPTIONS" ? "*" : "/";
  if (question != std::string_view::npos) head.query = target.substr(question + 1);
  return std::nullopt;
}

bool SameAuthority(std::string_view a, std::string_view b, uint16_t default_port) {
  const auto left = ParseAuthority(a);
  const auto right = ParseAuthority(b);
  return left && right && left->host == right->host &&
         left->port.value_or(default_port) == right->port.value_or(default_port);
}

}  // namespace sallyport::mitm
