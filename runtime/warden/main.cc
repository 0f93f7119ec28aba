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

/// Dies with the owner. False when it has died already: then its end of the socket is closed.
bool TieToOwner() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd control{.fd = kControlFd, .events = 0, .revents = 0};
  return poll(&control, 1, 0) == 0;
}

constexpr off_t kMaxLaunch = 64 * 1024 * 1024;

Result<Launch> ReadLaunch() {
  const UniqueFd file(kLaunchFd);
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno("launch message"));
  if (info.st_size > kMaxLaunch) return Fail(Code::kLimit, "the launch message is too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  if (pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("launch message"));
  }
  return Launch::Decode(bytes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("sandbox-warden %s\n", versions::kSallyport);
    return 0;
  }
  if (fcntl(kControlFd, F_GETFD) < 0 || fcntl(kLaunchFd, F_GETFD) < 0) {
    std::fprintf(stderr, "sandbox-warden is started by sandboxctl; see sandboxctl run --help\n");
    return 125;
  }
  if (!TieToOwner()) return 125;
  std::signal(SIGPIPE, SIG_IGN);
  for (int fd = kControlFd; fd < kFirstFreeFd; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  auto launch = ReadLaunch();
  if (!launch) {
    std::fprintf(stderr, "sandbox-warden: %s\n", launch.error().message().c_str());
    return 125;
  }
  auto warden = Warden::Start(*std::move(launch), {.control = UniqueFd(kControlFd),
                                                   .audit = UniqueFd(kAuditFd),
                                                   .values = UniqueFd(kValuesFd)});
  if (!warden) return 125;
  const auto status = (*warden)->Run();
  // The sandbox's network goes with this process; its teardown holds nobody up.
  _exit(status ? 0 : 125);
}
