#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/backend/backend.h"
#include "runtime/backend/namespaces/namespace_backend.h"

namespace sallyport::runtime::testing {

/// A directory that anyone may enter, gone with all that is in it when this is destroyed.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A sandbox of the namespace backend with the test agent in it. Ends with this object.
class Sandbox {
 public:
  static Result<Sandbox> Start(const WorkloadSpec& spec, const NamespaceOptions& options = {});
  /// One that was started in another way, with the test agent.
  static Sandbox Of(Workload workload) { return Sandbox(std::move(workload)); }
  Sandbox(Sandbox&&) = default;
  ~Sandbox();

  /// What a shell in the sandbox prints for COMMAND, stdout and stderr, without the last line end.
  std::string Shell(const std::string& command) { return Run("plain", {"sh", "-c", command}); }
  /// The same for a program and its arguments, under MODE (test_agent.cc).
  std::string Run(const std::string& mode, const std::vector<std::string>& words);
  /// Wait status of the last program.
  int status() const { return status_; }

  Workload& workload() { return workload_; }

 private:
  explicit Sandbox(Workload workload) : workload_(std::move(workload)) {}
  Workload workload_;
  int status_ = 0;
};

/// A spec that has the test agent, and nothing else set.
WorkloadSpec BasicSpec();

/// Who starts a sandbox in a test.
enum class Who { kRoot, kUser };
/// The id of kUser when the tests run as root.
constexpr uid_t kTestUser = 54321;

/// Whether WHO can start sandboxes here: kRoot needs root, and the host must have what they need.
/// Tests that can't are passed over, with a warning.
bool CanStart(Who who);

/// Runs BODY in a child process that is WHO, and returns what it returned. A child that dies gives
/// "died".
std::string As(Who who, const std::function<std::string()>& body);

/// The error of a start that must fail; "started" when it did not.
std::string StartError(const WorkloadSpec& spec, const NamespaceOptions& options = {});

}  // namespace sallyport::runtime::testing
