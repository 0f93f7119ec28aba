#pragma once

#include <pthread.h>

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/backend/namespaces/namespace_backend.h"

namespace sallyport::runtime {

/// The guest's network namespace, link and addresses, made by a thread of the sandbox's first
/// process: the kernel takes as long for them as for the root file system, and neither needs the
/// other.
///
/// The thread is started with the launcher's ids, which the tun node may ask for, and opens nothing
/// by an absolute path, as the root changes below it. The process is in the host's network
/// namespace until Join(). It must not outlive the object: what fails meanwhile ends the process.
class NetworkThread {
 public:
  /// Says whether there is to be a network at all. Called in the thread, once, when the namespace
  /// is made; it may wait, and work.
  using Wanted = std::function<Result<bool>()>;

  NetworkThread(const NamespaceOptions& options, Wanted wanted)
      : options_(options), wanted_(std::move(wanted)) {}
  NetworkThread(const NetworkThread&) = delete;
  NetworkThread& operator=(const NetworkThread&) = delete;

  /// Needs /proc and the tun node at their places.
  Status Start();
  /// Waits for the thread and moves the caller into the namespace.
  Status Join();

  /// After Join(): where the guest's frames come out; invalid without a network.
  UniqueFd& link() { return link_; }
  LinkKind link_kind() const { return link_kind_; }

 private:
  Status Make();
  Status MakeLink();
  Status OpenTun();

  const NamespaceOptions& options_;
  const Wanted wanted_;
  pthread_t thread_{};
  UniqueFd proc_;
  UniqueFd tun_folder_;
  Status done_;  // From here on the thread's, until it is joined.
  UniqueFd namespace_;
  UniqueFd tun_;
  UniqueFd link_;
  LinkKind link_kind_ = LinkKind::kNone;
};

}  // namespace sallyport::runtime
