#include "runtime/api/policy_format.h"

#include "policy/lua_format.h"
#include "runtime/api/files.h"
#include "runtime/api/replaced_file.h"

namespace sallyport {
namespace {

constexpr size_t kMaxPolicy = 4 * 1024 * 1024;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

Result<bool> FormatPolicy(const std::string& file, FormatMode mode) {
  auto text = ReadFile(file, kMaxPolicy);
  if (!text) return tl::unexpected(std::move(text).error());
  // What some editors put before a text, and a policy is read without.
  std::string_view unmarked = *text;
  if (unmarked.starts_with(kByteOrderMark)) unmarked.remove_prefix(kByteOrderMark.size());
  auto formatted = policy::FormatLua(unmarked);
  if (!formatted) return tl::unexpected(std::move(formatted).error().In(file));
  if (*formatted == *text) return false;
  if (mode == FormatMode::kCheck) return true;
  const auto path = ResolvePath(file);
  if (!path) return tl::unexpected(path.error());
  const auto target = ReplacedFile::Open(*path);
  if (!target) return tl::unexpected(target.error());
  if (auto written = target->Write(*formatted); !written) {
    return tl::unexpected(std::move(written).error());
  }
  return true;
}

}  // namespace sallyport
