#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "base/unique_fd.h"

namespace sallyport::guest {

/// The real agent as PID 1 of namespaces of its own: user (as root), mount, process, IPC and
/// network. Its root is a tmpfs with the host's /usr, /proc, /dev with terminals, and the files
/// asked for.
class TestSandbox {
 public:
  struct Options {
    std::map<std::string, std::string> files = {{"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"}};
    std::map<std::string, std::string> links{};  ///< Symbolic ones, made after the files.
    std::string read_only{};                     ///< A folder that can't be written, if not empty.
    std::string mounted{};                       ///< A folder that is a mount, if not empty.
    std::string fifo{};                          ///< Made where it stands, if not empty.
  };

  /// Whether this host lets the user make the namespaces.
  static bool Possible();

  explicit TestSandbox(const Options& options);
  ~TestSandbox();
  TestSandbox(const TestSandbox&) = delete;
  TestSandbox& operator=(const TestSandbox&) = delete;

  /// The byte stream to the agent; the caller may take it.
  UniqueFd& connection() { return connection_; }

  /// Waits for the agent's end, and with it everything's. The exit code; -1 if it does not come.
  int WaitForEnd();

 private:
  std::string root_;
  UniqueFd connection_;
  pid_t pid_ = -1;
};

}  // namespace sallyport::guest
