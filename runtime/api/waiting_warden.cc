#include "runtime/api/waiting_warden.h"

#include <sys/wait.h>

#include <cerrno>

#include "runtime/warden/launch.h"

namespace sallyport {

Result<WaitingWarden> WaitingWarden::Start() {
  auto helpers = FindHelpers();
  if (!helpers) return tl::unexpected(std::move(helpers).error());
  auto spawned = SpawnWarden(helpers->warden);
  if (!spawned) return tl::unexpected(std::move(spawned).error());
  return WaitingWarden(*std::move(helpers), *std::move(spawned));
}

WaitingWarden::~WaitingWarden() {
  if (!spawned_.control.valid()) return;
  spawned_.control.reset();
  while (waitpid(spawned_.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<SpawnedWarden> WaitingWarden::Launch(const runtime::LaunchMessage& message) && {
  if (auto sent = runtime::SendLaunch(spawned_.control.get(), message); !sent) {
    return tl::unexpected(std::move(sent).error());
  }
  return std::move(spawned_);
}

}  // namespace sallyport
