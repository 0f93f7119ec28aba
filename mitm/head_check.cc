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

bool AreFields(const Headers& headers) {
  return std::all_of(
      headers.fields().begin(), headers.fields().end(), [](const HeaderField& field) {
        // The request parser leaves "te: trailers" for the codecs to see.
        const bool ours = http1::IsHopField(field.name) && !EqualsIgnoreCase(field.name, "te");
        return !ours && IsToken(field.name) && IsFieldValue(field.value);
      });
}

}  // namespace

bool IsWritable(const RequestHead& head) {
  if (!IsToken(head.method) || !IsTargetText(head.path) || !AreFields(head.headers)) return false;
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
