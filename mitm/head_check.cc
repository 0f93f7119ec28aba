#include "mitm/head_check.h"

#include <algorithm>

#include "mitm/http1/fields.h"

namespace sallyport::mitm {
namespace {

bool IsTargetText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f && c != '#';
  });
}

/// But for OURS, hop fields that the request parser leaves for the codecs to see, beside "te:
/// trailers".
bool AreFields(const Headers& headers, std::string_view ours = {}, std::string_view also = {}) {
  return std::all_of(
      headers.fields().begin(), headers.fields().end(), [ours, also](const HeaderField& field) {
        const bool hop = http1::IsHopField(field.name) && !EqualsIgnoreCase(field.name, "te") &&
                         !EqualsIgnoreCase(field.name, ours) &&
                         !EqualsIgnoreCase(field.name, also);
        return !hop && IsToken(field.name) && IsFieldValue(field.value);
      });
}

}  // namespace

bool IsWritable(const RequestHead& head) {
  if (!IsToken(head.method) || !IsTargetText(head.path) || !AreFields(head.headers, "upgrade", "trailer")) {
    return false;
  }
  const auto& fields = head.headers.fields();
  if (std::any_of(fields.begin(), fields.end(),
                  [](const HeaderField& field) { return http1::LooksLikeHopField(field.name); })) {
    return false;
  }
  if (head.query && !IsTargetText(*head.query)) return false;
  if (head.path == "*") return head.method == "OPTIONS" && !head.query;
  return head.path.starts_with('/') && head.path.find('?') == std::string::npos;
}

bool IsWritable(const ResponseHead& head) {
  return head.status >= 200 && head.status <= 599 && IsFieldValue(head.reason) &&
         AreFields(head.headers);
}

size_t SizeOf(const Headers& headers) {
  size_t size = 0;
  for (const HeaderField& field : headers.fields()) {
    size += field.name.size() + field.value.size() + 4;
  }
  return size;
}

}  // namespace sallyport::mitm
