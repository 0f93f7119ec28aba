#include "runtime/broker/child_program.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace sallyport::runtime {

namespace {

/// Tells whoever reads the program's complaints, without allocating.
void Complain(const char* program, const char* why) {
  const auto piece = [](const char* text) {
    return iovec{const_cast<char*>(text), std::strlen(text)};
  };
  const std::array<iovec, 4> line = {piece(program), piece(": "), piece(why), piece("\n")};
  [[maybe_unused]] const ssize_t told = writev(2, line.data(), static_cast<int>(line.size()));
}

[[noreturn]] void Exec(const ChildProgram& program) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGPIPE, SIG_DFL);
  dup2(program.in >= 0 ? program.in : open("/dev/null", O_RDONLY), 0);
  dup2(program.out, 1);
  dup2(program.complaints, 2);
  syscall(SYS_close_range, 3, ~0U, 0);
  if (chdir(program.folder) == 0) execvpe(program.argv[0], program.argv, program.envp);
  Complain(program.argv[0], std::strerror(errno));
  _exit(127);
}

}  // namespace

std::array<UniqueFd, 2> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

pid_t Launch(const ChildProgram& program) {
  const pid_t pid = vfork();
  if (pid == 0) Exec(program);
  return pid;
}

std::string FirstLine(const std::string& text) {
  std::string line = text.substr(0, std::min(text.find('\n'), kMaxComplaint));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return line;
}

}  // namespace sallyport::runtime
