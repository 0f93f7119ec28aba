#pragma once

#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// A child process that is killed and reaped when this is destroyed, unless it was released.
class Child {
 public:
  Child() = default;
  /// PID, which PIDFD stands for, is a child of this process already.
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }
  /// Gives up the child: whoever gets the descriptor kills and reaps.
  UniqueFd Release();

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
};

/// Forks into new NAMESPACES (CLONE_NEW* flags). Returns twice: pid() is 0 in the child, which has
/// a copy of everything and must leave by _exit or exec. kUnsupported, with what to change, where
/// the host forbids the namespaces.
Result<Child> CloneInto(uint64_t namespaces);

/// The same change as words, for errors that show up only later (AppArmor gives a user namespace,
/// but nothing can be done in it). Empty when no reason is known.
std::string WhyNamespacesAreForbidden();

}  // namespace sallyport::runtime
