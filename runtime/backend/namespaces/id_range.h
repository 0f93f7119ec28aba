#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// Started as root, a sandbox has 65,536 host ids of its own: guest id N is `base + N`. Host id 0
/// is never mapped: it owns /proc/sys and most of what a host has. The ranges come from 0x70000000
/// to 0x7ffcffff, which lie above what useradd, subuid files and systemd-nspawn give out (up to
/// 0x6fffffff) and below systemd's foreign ids (0x7ffe0000).
struct IdRange {
  static constexpr uid_t kFirst = 0x70000000;
  static constexpr uid_t kCount = 0x10000;   ///< Ids of one sandbox.
  static constexpr uint32_t kSlots = 0xffd;  ///< Up to the ids that runtime/confine takes.

  uid_t base = 0;
  /// While it is open, no other sandbox gets this range: a lock on the byte of LOCK_FILE that has
  /// the number of the range. It ends with the last process that holds it, whatever happens.
  UniqueFd lock;
};

/// A random range that nobody has. kLimit when all are in use, kUnsupported when the ids don't
/// exist here (a container with few of them).
Result<IdRange> ReserveIds(const std::string& lock_file);

/// In the first process of a sandbox that a plain user starts: its root is that user, and there are
/// no other ids. The right to change groups goes with it.
Status MapOnlyRootTo(uid_t uid, gid_t gid);

/// The text of a uid_map or gid_map that gives guest ids FIRST.. the host ids BASE...
std::string IdMap(uid_t first, uid_t base, uid_t count);

}  // namespace sallyport::runtime
