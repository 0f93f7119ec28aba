#include "tests/runtime/backend/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

namespace sallyport::runtime::testing {
namespace {

bool ReadExactly(int fd, void* to, size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

/// The agent where every user can reach it; copied once for each process that needs it.
const std::string& AgentPath() {
  static const TempDir directory;
  static const std::string path = [] {
    std::string copy = directory / "agent";
    std::filesystem::copy_file(SALLYPORT_TEST_AGENT, copy);
    chmod(copy.c_str(), 0755);
    return copy;
  }();
  return path;
}

}  // namespace

TempDir::TempDir() {
  char path[] = "/tmp/sallyport-test-XXXXXX";
  if (mkdtemp(path) == nullptr) std::abort();
  chmod(path, 0755);
  path_ = path;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

WorkloadSpec BasicSpec() {
  WorkloadSpec spec;
  spec.agent_path = AgentPath();
  return spec;
}

Result<Sandbox> Sandbox::Start(const WorkloadSpec& spec, const NamespaceOptions& options) {
  auto workload = NewNamespaceBackend(options)->Start(spec);
  if (!workload) return tl::unexpected(std::move(workload).error());
  return Sandbox(std::move(*workload));
}

Sandbox::~Sandbox() {
  if (!workload_.pidfd.valid()) return;
  syscall(SYS_pidfd_send_signal, workload_.pidfd.get(), SIGKILL, nullptr, 0);
  waitpid(workload_.pid, nullptr, 0);
}

std::string Sandbox::Run(const std::string& mode, const std::vector<std::string>& words) {
  std::string request = mode + '\0';
  for (const std::string& word : words) request += word + '\0';
  auto size = static_cast<uint32_t>(request.size());
  request.insert(0, reinterpret_cast<const char*>(&size), sizeof size);
  const int socket = workload_.agent.get();
  if (write(socket, request.data(), request.size()) != static_cast<ssize_t>(request.size()) ||
      !ReadExactly(socket, &size, sizeof size)) {
    return "no agent";
  }
  std::string answer(size, '\0');
  if (!ReadExactly(socket, answer.data(), size)) return "no answer";
  std::memcpy(&status_, answer.data(), sizeof status_);
  answer.erase(0, sizeof status_);
  if (answer.ends_with('\n')) answer.pop_back();
  return answer;
}

bool CanStart(Who who) {
  if (who == Who::kRoot && geteuid() != 0) return false;
  static std::map<Who, bool> known;
  if (const auto found = known.find(who); found != known.end()) return found->second;
  const std::string missing = As(who, []() -> std::string {
    for (const HostCheck& check : CheckNamespaceHost()) {
      if (check.state == HostCheck::State::kMissing) return check.what + ": " + check.detail;
    }
    return "nothing";
  });
  if (missing != "nothing") std::fprintf(stderr, "no sandboxes here: %s\n", missing.c_str());
  return known[who] = missing == "nothing";
}

std::string As(Who who, const std::function<std::string()>& body) {
  AgentPath();  // Made by us, so that the child does not take it along.
  int result[2];
  if (pipe2(result, O_CLOEXEC) != 0) return "no pipe";
  const pid_t pid = fork();
  if (pid == 0) {
    if (who == Who::kUser && geteuid() == 0 &&
        (setgroups(0, nullptr) != 0 || setresgid(kTestUser, kTestUser, kTestUser) != 0 ||
         setresuid(kTestUser, kTestUser, kTestUser) != 0)) {
      _exit(1);
    }
    const std::string text = body();
    const bool written = write(result[1], text.data(), text.size()) >= 0;
    _exit(written ? 0 : 1);
  }
  close(result[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(result[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(result[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? text : "died";
}

std::string StartError(const WorkloadSpec& spec, const NamespaceOptions& options) {
  auto sandbox = Sandbox::Start(spec, options);
  return sandbox ? "started" : sandbox.error().message();
}

}  // namespace sallyport::runtime::testing
