#include "runtime/backend/namespaces/id_range.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

/// Whether the user namespace we are in has our ranges, by the text of its map.
bool HasRanges(const std::string& map) {
  std::istringstream lines(map);
  uint64_t inside = 0;
  uint64_t outside = 0;
  uint64_t count = 0;
  constexpr uint64_t kEnd = uint64_t{IdRange::kFirst} + uint64_t{IdRange::kSlots} * IdRange::kCount;
  while (lines >> inside >> outside >> count) {
    if (inside <= IdRange::kFirst && inside + count >= kEnd) return true;
  }
  return false;
}

Status CheckRangesExist() {
  for (const char* file : {"/proc/self/uid_map", "/proc/self/gid_map"}) {
    auto map = ReadFile(file);
    if (!map) return tl::unexpected(std::move(map).error());
    if (!HasRanges(*map)) {
      return Fail(Code::kUnsupported,
                  "this container has too few user ids for a sandbox started as root; start it as "
                  "a plain user, or run the container in the host's user namespace");
    }
  }
  return {};
}

bool TryLock(int file, uint32_t slot) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = slot;
  lock.l_len = 1;
  return fcntl(file, F_OFD_SETLK, &lock) == 0;
}

}  // namespace

Result<IdRange> ReserveIds(const std::string& lock_file) {
  auto exist = CheckRangesExist();
  if (!exist) return tl::unexpected(std::move(exist).error());
  UniqueFd file(open(lock_file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("opening " + lock_file));
  uint32_t start = 0;
  if (getrandom(&start, sizeof start, 0) != sizeof start) {
    return tl::unexpected(Error::FromErrno("getrandom"));
  }
  for (uint32_t i = 0; i < IdRange::kSlots; ++i) {
    const uint32_t slot = (start % IdRange::kSlots + i) % IdRange::kSlots;
    if (!TryLock(file.get(), slot)) continue;
    return IdRange{IdRange::kFirst + slot * IdRange::kCount, std::move(file)};
  }
  return Fail(Code::kLimit, "all " + std::to_string(IdRange::kSlots) + " ranges of ids are in use");
}

Status MapOnlyRootTo(uid_t uid, gid_t gid) {
  // Else our files in /proc are root's. This process is a copy that holds no secret, and exec
  // decides anew.
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  auto done = WriteFile("/proc/self/uid_map", IdMap(0, uid, 1));
  if (done) done = WriteFile("/proc/self/setgroups", "deny");
  if (done) done = WriteFile("/proc/self/gid_map", IdMap(0, gid, 1));
  return done;
}

std::string IdMap(uid_t first, uid_t base, uid_t count) {
  return std::to_string(first) + " " + std::to_string(base) + " " + std::to_string(count) + "\n";
}

}  // namespace sallyport::runtime
