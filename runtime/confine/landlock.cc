#include "runtime/confine/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/unique_fd.h"

namespace sallyport::runtime {
namespace {

// Newer than the headers we build with; the kernel accepts what its ABI knows.
struct RulesetAttributes {
  uint64_t file_system;
  uint64_t network;  // ABI 4
  uint64_t scoped;   // ABI 6
};
constexpr uint64_t kNetworkAll = 3;     // bind and connect, TCP
constexpr uint64_t kScopeAbstract = 1;  // abstract unix sockets
constexpr uint64_t kScopeSignals = 2;

/// Every file right that ABI knows: 13 in the first, then refer, truncate, and ioctl in the fifth.
uint64_t FileRights(int abi) {
  const int count = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
  return (uint64_t{1} << count) - 1;
}

RulesetAttributes Attributes(const LandlockRules& rules, int abi) {
  RulesetAttributes attributes{.file_system = FileRights(abi), .network = 0, .scoped = 0};
  if (!rules.network) attributes.network = kNetworkAll;
  attributes.scoped = kScopeAbstract | (rules.signals ? 0 : kScopeSignals);
  return attributes;
}

size_t AttributesSize(int abi) {
  return abi >= 6 ? sizeof(RulesetAttributes) : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

Status AllowReading(int ruleset, const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return tl::unexpected(Error::FromErrno(path));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return tl::unexpected(Error::FromErrno(path));
  landlock_path_beneath_attr rule{};
  rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
  if (S_ISDIR(info.st_mode)) rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
  rule.parent_fd = fd.get();
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    return tl::unexpected(Error::FromErrno(path));
  }
  return {};
}

}  // namespace

int LandlockAbi() {
  const long abi =
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

Result<int> RestrictByLandlock(const LandlockRules& rules) {
  const int abi = LandlockAbi();
  if (abi == 0) return 0;
  const RulesetAttributes attributes = Attributes(rules, abi);
  const UniqueFd ruleset(
      static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, AttributesSize(abi), 0)));
  if (!ruleset.valid()) return tl::unexpected(Error::FromErrno("creating a Landlock rule set"));
  for (const std::string& path : rules.readable) {
    auto allowed = AllowReading(ruleset.get(), path);
    if (!allowed) return tl::unexpected(std::move(allowed).error());
  }
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return tl::unexpected(Error::FromErrno("restricting by Landlock"));
  }
  return abi;
}

}  // namespace sallyport::runtime
