#include "runtime/broker/helper_process.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace sallyport::runtime {

namespace {

/// What a child of ours needs none of: others' descriptors, above all the warden's end, whose
/// closing must be seen by it alone.
void KeepOnly(int socket) {
  if (socket > 3) syscall(SYS_close_range, 3, static_cast<unsigned>(socket) - 1, 0);
  syscall(SYS_close_range, static_cast<unsigned>(socket) + 1, ~0U, 0);
}

int Live(const char* name, UniqueFd socket, UniqueFd told,
         const std::function<int(UniqueFd, Variables)>& serve) {
  prctl(PR_SET_NAME, name);
  // It ends when the broker's end of the socket is closed, so that a command under way is ended
  // with all that it started; a signal at the parent's death would leave those behind.
  prctl(PR_SET_PDEATHSIG, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  auto variables = Variables::Receive(told.get());
  told.reset();
  KeepOnly(socket.get());
  if (!variables) {
    std::fprintf(stderr, "%s: %s\n", name, variables.error().message().c_str());
    return 1;
  }
  return serve(std::move(socket), *std::move(variables));
}

}  // namespace

Result<UniqueFd> StartHelper(const char* name, const Variables& variables,
                             const std::function<int(UniqueFd, Variables)>& serve) {
  std::array<int, 2> pair;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  // What lies in locked memory no child inherits: it is told.
  std::array<int, 2> passage;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, passage.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  const UniqueFd telling(passage[0]);
  UniqueFd told(passage[1]);
  const pid_t pid = fork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) _exit(Live(name, std::move(theirs), std::move(told), serve));
  told.reset();
  if (auto sent = variables.Send(telling.get()); !sent) {
    return tl::unexpected(std::move(sent).error().In(name));
  }
  return ours;
}

}  // namespace sallyport::runtime
