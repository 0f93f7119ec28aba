#include "runtime/backend/namespaces/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace sallyport::runtime {
namespace {

constexpr int kKept[] = {CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FOWNER,          CAP_FSETID,
                         CAP_KILL,    CAP_SETGID,       CAP_SETUID,          CAP_SETPCAP,
                         CAP_SETFCAP, CAP_SYS_CHROOT,   CAP_NET_BIND_SERVICE};

uint64_t KeptSet() {
  uint64_t set = 0;
  for (int capability : kKept) set |= uint64_t{1} << capability;
  return set;
}

}  // namespace

Status KeepGuestCapabilities() {
  const uint64_t kept = KeptSet();
  for (int capability = 0; capability < 64; ++capability) {
    if ((kept >> capability & 1) != 0) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;  // Behind the last one that this kernel knows.
    return tl::unexpected(Error::FromErrno("bounding set"));
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2] = {};
  for (int half = 0; half < 2; ++half) {
    sets[half].effective = static_cast<uint32_t>(kept >> (32 * half));
    sets[half].permitted = sets[half].effective;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return tl::unexpected(Error::FromErrno("capset"));
  return {};
}

}  // namespace sallyport::runtime
