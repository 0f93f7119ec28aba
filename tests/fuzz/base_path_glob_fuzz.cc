// The first line is a pattern, the rest a path. Normalising twice is normalising once, and a
// normalised path has no dot segment and no empty one inside.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/path_glob.h"

using namespace sallyport;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = text.find('\n');
  const std::string_view path = end == text.npos ? text : text.substr(end + 1);
  if (const auto glob = PathGlob::Parse(text.substr(0, end))) {
    glob->Matches(path);
    if (glob->text().find('*') == std::string::npos) SALLYPORT_CHECK(glob->Matches(glob->text()));
  }
  const auto normal = NormalizePath(path);
  if (IsPlainPath(path)) SALLYPORT_CHECK(normal && *normal == path);
  if (!normal || !path.starts_with('/')) return 0;
  const auto again = NormalizePath(*normal);
  SALLYPORT_CHECK(again && *again == *normal);
  SALLYPORT_CHECK(normal->starts_with('/') && normal->find("//") == std::string::npos);
  SALLYPORT_CHECK((*normal + "/").find("/../") == std::string::npos);
  SALLYPORT_CHECK((*normal + "/").find("/./") == std::string::npos);
  return 0;
}
