#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "runtime/warden/launch.h"
#include "runtime/warden/warden.h"
#include "sallyport_versions.h"

namespace {

using namespace sallyport;
using namespace sallyport::runtime;

bool IsSocket(int fd) {
  struct stat info = {};
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

/// Dies with the owner. False when it has died already: then its end of the socket is closed.
bool TieToOwner() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd control{.fd = kControlFd, .events = 0, .revents = 0};
  return poll(&control, 1, 0) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("sandbox-warden %s\n", versions::kSallyport);
    return 0;
  }
  if (!IsSocket(kControlFd)) {
    std::fprintf(stderr, "sandbox-warden is started by sandboxctl; see sandboxctl run --help\n");
    return 125;
  }
  if (!TieToOwner()) return 125;
  std::signal(SIGPIPE, SIG_IGN);
  fcntl(kControlFd, F_SETFD, FD_CLOEXEC);
  const bool has_begun = argc == 3 && std::strcmp(argv[1], kBegunFlag) == 0;
  auto begun = has_begun ? Warden::ContinueWorkload(argv[2]) : Warden::BeginWorkload();
  auto message = ReceiveLaunch(kControlFd);
  if (!message) {
    // An owner that found a mistake in the policy says so itself, and ends.
    if (message.error().code() == Code::kNotFound) return 125;
    std::fprintf(stderr, "sandbox-warden: %s\n", message.error().message().c_str());
    return 125;
  }
  auto warden = Warden::Start(std::move(begun), std::move(message->launch),
                              {.control = UniqueFd(kControlFd),
                               .audit = std::move(message->audit),
                               .values = std::move(message->values),
                               .commands = std::move(message->commands),
                               .ports = std::move(message->ports),
                               .capture = std::move(message->capture)});
  if (!warden) return 125;
  const auto status = (*warden)->Run();
  // The sandbox's network goes with this process; its teardown holds nobody up.
  _exit(status ? 0 : 125);
}
