#include "runtime/api/files.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/check.h"
#include "base/unique_fd.h"

namespace sallyport {
namespace {

/// Until PIPE has bytes, or the last of its writers is gone. Before there was one a read would say that
/// it is over, but it is not over.
Status WaitForPipe(int pipe, const std::string& path, std::chrono::steady_clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Fail(Code::kTimeout, path + " is a pipe, and its end did not come in time");
    }
    pollfd waits{.fd = pipe, .events = POLLIN, .revents = 0};
    const int ready = poll(&waits, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return tl::unexpected(Error::FromErrno(path));
    if (ready > 0) return {};
  }
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, size_t most, FileKind kind,
                             std::chrono::milliseconds pipe_time) {
  // A FIFO without a writer is opened at once so; its reads would not wait, but it is refused before,
  // or waited for with a deadline.
  const int wait = kind == FileKind::kAny ? 0 : O_NONBLOCK;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | wait));
  if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno(path));
  const bool is_pipe = kind == FileKind::kRegularOrPipe && S_ISFIFO(info.st_mode);
  if (kind != FileKind::kAny && !is_pipe && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return Fail(Code::kInvalid, path + " is no regular file");
  }
  const auto end = std::chrono::steady_clock::now() + pipe_time;
  std::string text;
  std::array<char, 64 * 1024> piece;
  for (;;) {
    if (is_pipe) {
      if (auto ready = WaitForPipe(file.get(), path, end); !ready) {
        return tl::unexpected(std::move(ready).error());
      }
    }
    const ssize_t count = read(file.get(), piece.data(), piece.size());
    if (count < 0 && (errno == EINTR || (is_pipe && errno == EAGAIN))) continue;
    if (count < 0) return tl::unexpected(Error::FromErrno(path));
    if (count == 0) return text;
    text.append(piece.data(), static_cast<size_t>(count));
    if (text.size() > most) {
      return Fail(Code::kLimit, path + " is larger than " + std::to_string(most >> 20) + " MiB");
    }
  }
}

bool IsPipe(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode);
}

Result<std::string> ResolvePath(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), std::free);
  if (!resolved) return tl::unexpected(Error::FromErrno(path));
  return std::string(resolved.get());
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == text.npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

Result<std::string> StateFolder() {
  if (geteuid() == 0) return std::string("/var/lib/sallyport");
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/') {
    return std::string(state) + "/sallyport";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::string(home) + "/.local/state/sallyport";
  }
  return Fail(Code::kNotFound, "there is no folder for state: set HOME or XDG_STATE_HOME");
}

Status MakeFolders(const std::string& path) {
  for (size_t end = 1; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      return tl::unexpected(Error::FromErrno(folder));
    }
  }
  return {};
}

std::string NewSandboxId() {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz234567";
  std::array<unsigned char, 10> random;
  SALLYPORT_CHECK(getrandom(random.data(), random.size(), 0) ==
                  static_cast<ssize_t>(random.size()));
  std::string id = "sp-";
  for (const unsigned char byte : random) id += kLetters[byte % kLetters.size()];
  return id;
}

Result<Helpers> FindHelpers() {
  std::vector<std::string> folders;
  if (const char* folder = std::getenv("SALLYPORT_LIBEXEC_DIR");
      folder != nullptr && *folder != '\0') {
    folders.emplace_back(folder);
  } else {
    std::error_code ignored;  // Then the folder is "", and nothing is found in it.
    const std::string here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
    folders = {here, here + "/../libexec/sallyport"};
  }
  std::string looked;
  for (const auto& folder : folders) {
    Helpers helpers{folder + "/sandbox-warden", folder + "/sandbox-agent",
                    folder + "/sandbox-broker"};
    if (access(helpers.warden.c_str(), X_OK) == 0 && access(helpers.agent.c_str(), R_OK) == 0 &&
        access(helpers.broker.c_str(), X_OK) == 0) {
      return helpers;
    }
    looked += ' ' + folder;
  }
  return Fail(Code::kNotFound, "sandbox-warden, sandbox-broker and sandbox-agent are not in" +
                                   looked +
                                   "; set SALLYPORT_LIBEXEC_DIR to the folder that holds them");
}

}  // namespace sallyport
