#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend/backend.h"

namespace sallyport::runtime {

struct NamespaceOptions {
  enum class Link {
    kAuto,    ///< A TAP, or the packet link where the tun node can't be opened.
    kTap,     ///< A TAP or an error.
    kPacket,  ///< veth and AF_PACKET.
  };
  Link link = Link::kAuto;
  std::string tun_node = "/dev/net/tun";
  /// Started as root: the file whose byte N is locked by the sandbox that has the Nth range of ids.
  std::string id_lock = "/run/sallyport-ids";
};

/// Sandboxes made of Linux namespaces: the host's own tools in a fresh root, a user namespace, and
/// a network whose only way out is the link. Works for root and for plain users, without helpers.
std::unique_ptr<Backend> NewNamespaceBackend(NamespaceOptions options);

/// How many descriptors a start takes over an exec.
constexpr int kHandedOverFds = 4;

/// Begin(), in a process that goes on as another program: the descriptors of the start get the
/// numbers from FIRST_FD on, whatever they were before, and stay open over the exec. Returns the
/// words by which ContinueNamespaceStart() knows it there. The sandbox's first process is a copy of
/// the calling one, dies with it, and lives through its exec.
Result<std::string> BeginBeforeExec(const NamespaceOptions& options, int first_fd);

/// What BeginBeforeExec() began with the same OPTIONS in this process, before it became this
/// program. kInvalid when WORDS or the descriptors are not its.
Result<std::unique_ptr<StartingWorkload>> ContinueNamespaceStart(const NamespaceOptions& options,
                                                                 int first_fd,
                                                                 const std::string& words);

/// What that needs of this host, each tried for real in a child that is gone afterwards. For
/// `sandboxctl doctor`; also says whether KVM is usable. Call while single-threaded.
std::vector<HostCheck> CheckNamespaceHost();

}  // namespace sallyport::runtime
