#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::netstack {

/// A process in a network namespace of its own, with the guest's end of a link as its only
/// way out, configured as TestOptions() says.
struct TapGuest {
  UniqueFd link;  ///< The host's end, as MakeTapLink or MakePacketLink wants it.
  pid_t pid = -1;
};

enum class GuestLink { kTap, kVeth };

/// Whether it is given addresses and routes. Without, its interface is up and its kernel asks.
enum class GuestSetup { kConfigured, kAsks };

/// Starts one that runs JOB, whose result is its exit status. kUnsupported where this host does not
/// let us make one. The process dies with ours.
Result<TapGuest> StartTapGuest(GuestLink link, const std::function<int()>& job,
                               GuestSetup setup = GuestSetup::kConfigured);

}  // namespace sallyport::netstack
