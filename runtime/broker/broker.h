#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret_spec.h"
#include "base/unique_fd.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

/// The helper that holds the sources of secrets, so that the warden, which reads hostile bytes, never
/// opens one. Forked before anything secret is read; confined on its own; asked over a socket pair:
///
///     warden  u32 length, the secret's name
///     broker  u8 0 (value) or 1 (message), u32 length, bytes
///
/// It lives as long as its warden does, and the warden ends with it.
class Broker {
 public:
  /// Forks the helper. VALUES is the pipe that brings the values of `env` sources (launch.h); only the
  /// child reads it, and it is closed here. Files are opened by the child before it confines itself.
  /// Call while single-threaded.
  static Result<Broker> Start(const std::vector<SecretSpec>& specs, UniqueFd values);

  Broker(Broker&&) noexcept = default;
  Broker& operator=(Broker&&) noexcept = default;

  /// The value of secret NAME, straight into locked memory. Waits at most five seconds.
  /// kNotFound with the broker's message when the source has none ("variable X is not set").
  Result<secrets::Secret> Read(std::string_view name,
                               secrets::Secret::Form form = secrets::Secret::Form::kHeaderValue);

  /// Readable once the broker is gone.
  int watch_fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

 private:
  Broker(UniqueFd socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  UniqueFd socket_;
  pid_t pid_ = -1;
};

}  // namespace sallyport::runtime
