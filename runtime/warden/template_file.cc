#include "runtime/warden/template_file.h"

namespace sallyport::runtime {

std::string ExpandTemplate(std::string_view text, const secrets::Store& secrets) {
  std::string out;
  for (;;) {
    const size_t begin = text.find("${");
    const size_t end = begin == text.npos ? text.npos : text.find('}', begin);
    if (end == text.npos) return out.append(text);
    const std::string_view name = text.substr(begin + 2, end - begin - 2);
    const std::string* placeholder = secrets.PlaceholderOf(name);
    if (placeholder == nullptr) {
      out.append(text.substr(0, begin + 2));
      text.remove_prefix(begin + 2);
      continue;
    }
    out.append(text.substr(0, begin)).append(*placeholder);
    text.remove_prefix(end + 1);
  }
}

}  // namespace sallyport::runtime
