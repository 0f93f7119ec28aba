#pragma once

#include <linux/filter.h>

#include <vector>

namespace sallyport::seccomp {

/// Programs in a sandbox: what a container runtime allows, without the kernel's rarely needed and
/// often broken corners. Unknown calls answer ENOSYS, so that programs take their older way.
std::vector<sock_filter> GuestProgram();

/// The warden after Confine(): sockets and descriptors it already has. Anything else kills it.
std::vector<sock_filter> WardenProgram();

/// The broker after Confine(), when none of its sources is a server: reads files, writes to the pipe it holds. Anything else kills it.
std::vector<sock_filter> BrokerProgram();

/// The broker after Confine(), when it asks servers: IP sockets, and descriptors it already has; opens
/// nothing. Anything else kills it.
std::vector<sock_filter> OnlineBrokerProgram();

}  // namespace sallyport::seccomp
