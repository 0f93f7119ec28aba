#pragma once

#include <linux/filter.h>

#include <span>

#include "seccomp_broker.h"
#include "seccomp_guest.h"
#include "seccomp_online_broker.h"
#include "seccomp_warden.h"

namespace sallyport {

/// The filter of every program in a sandbox, installed behind no_new_privs. Unknown calls answer
/// ENOSYS. The static agent includes "seccomp_guest.h" alone.
inline std::span<const sock_filter> GuestFilter() {
  return kGuestFilter;
}

/// The filters of our own confined processes: a violation kills the process.
inline std::span<const sock_filter> WardenFilter() {
  return kWardenFilter;
}
inline std::span<const sock_filter> BrokerFilter() {
  return kBrokerFilter;
}
inline std::span<const sock_filter> OnlineBrokerFilter() {
  return kOnlineBrokerFilter;
}

}  // namespace sallyport
