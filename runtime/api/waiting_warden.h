#pragma once

#include <utility>

#include "base/result.h"
#include "runtime/api/files.h"
#include "runtime/api/spawn.h"

namespace sallyport::runtime {
struct LaunchMessage;
}

namespace sallyport {

/// A warden that waits for its launch message. Its start takes about as long as putting that
/// together, so it is started before anything is known of the sandbox. Destroyed unused, it ends
/// and is waited for.
class WaitingWarden {
 public:
  /// kNotFound when the programs that belong to this one are not there.
  static Result<WaitingWarden> Start();
  WaitingWarden(WaitingWarden&&) noexcept = default;
  WaitingWarden& operator=(WaitingWarden&&) = delete;
  ~WaitingWarden();

  const Helpers& helpers() const { return helpers_; }
  Result<SpawnedWarden> Launch(const runtime::LaunchMessage& message) &&;

 private:
  WaitingWarden(Helpers helpers, SpawnedWarden spawned)
      : helpers_(std::move(helpers)), spawned_(std::move(spawned)) {}
  Helpers helpers_;
  SpawnedWarden spawned_;
};

}  // namespace sallyport
