// Stands in for the sandbox-agent: PID 1 that runs programs for the tests.
//
//     to it    u32 length, then NUL-terminated words: a mode and the program's arguments
//     from it  u32 length, then i32 wait status and what the program wrote to stdout and stderr
//
// Modes: "plain" runs the program as it is, "filtered" under the guest's seccomp filter, as the
// real agent does; "stubborn" makes the agent ignore that its socket ends. The agent ends with its
// socket.

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "seccomp_guest.h"

namespace {

constexpr int kSocket = 3;

bool ReadAll(void* to, size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = read(kSocket, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void WriteAll(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = write(kSocket, text.data() + done, text.size() - done);
    if (put <= 0) _exit(1);
    done += static_cast<size_t>(put);
  }
}

std::vector<char*> Words(std::string& text) {
  std::vector<char*> words;
  for (size_t at = 0; at < text.size(); at += std::strlen(&text[at]) + 1)
    words.push_back(&text[at]);
  words.push_back(nullptr);
  return words;
}

[[noreturn]] void Execute(char** words, int output) {
  dup2(output, 1);
  dup2(output, 2);
  close(kSocket);
  close(output);
  if (std::strcmp(words[0], "filtered") == 0) {
    const sock_fprog program{sizeof sallyport::kGuestFilter / sizeof *sallyport::kGuestFilter,
                             const_cast<sock_filter*>(sallyport::kGuestFilter)};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) _exit(126);
  }
  char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char home[] = "HOME=/root";
  char* environment[] = {path, home, nullptr};
  execvpe(words[1], words + 1, environment);
  _exit(127);
}

std::string Run(char** words) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) _exit(1);
  const pid_t pid = fork();
  if (pid == 0) Execute(words, output[1]);
  close(output[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(output[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(output[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  std::string answer(sizeof status, '\0');
  std::memcpy(answer.data(), &status, sizeof status);
  return answer + text;
}

}  // namespace

int main() {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  bool stubborn = false;
  uint32_t size = 0;
  while (ReadAll(&size, sizeof size)) {
    std::string request(size, '\0');
    if (!ReadAll(request.data(), size)) break;
    std::vector<char*> words = Words(request);
    stubborn = stubborn || std::strcmp(words[0], "stubborn") == 0;
    const std::string answer = words.size() > 2 ? Run(words.data()) : std::string(4, '\0');
    size = static_cast<uint32_t>(answer.size());
    WriteAll(std::string(reinterpret_cast<const char*>(&size), sizeof size) + answer);
  }
  while (stubborn) pause();
  return 0;
}
