// PID 1 of every sandbox. Started with the byte stream to the host as descriptor 3, an empty
// environment and the capabilities of the sandbox's user namespace; the sandbox lives as long as
// it.

#include <signal.h>
#include <unistd.h>

#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/agent/agent.h"
#include "guest/agent/lockdown.h"

namespace sallyport::guest {
namespace {

constexpr int kHostFd = 3;
constexpr int kFailed = 125;

int Complain(const std::string& message) {
  const std::string line = "sandbox-agent: " + message + "\n";
  return write(STDERR_FILENO, line.data(), line.size()) < 0 ? kFailed + 1 : kFailed;
}

int Serve() {
  auto loop = Loop::Create();
  if (!loop) return Complain(loop.error().message());
  Agent agent(**loop, UniqueFd(kHostFd));
  if (Status started = agent.Start(); !started) return Complain(started.error().message());
  while (!agent.ended()) {
    if (const auto turn = (*loop)->RunOnce(); !turn) agent.Fail(turn.error());
  }
  return 0;
}

int Main() {
  // Elsewhere, ending everything would end other people's processes.
  if (getpid() != 1) return Complain("runs as the first process of a sandbox only");
  if (Status prepared = PrepareProcess(kHostFd); !prepared) {
    return Complain(prepared.error().message());
  }
  const int code = Serve();
  // The kernel does it again when PID 1 is gone; this does it before anyone can see that.
  kill(-1, SIGKILL);
  return code;
}

}  // namespace
}  // namespace sallyport::guest

int main() {
  _exit(sallyport::guest::Main());
}
