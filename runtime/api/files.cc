#include "runtime/api/files.h"

#include <fcntl.h>
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

Result<std::string> ReadFile(const std::string& path, size_t most, FileKind kind) {
  // A FIFO without a writer is opened at once so; its reads would not wait, but it is refused before.
  const int wait = kind == FileKind::kRegular ? O_NONBLOCK : 0;
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | wait));
  if (!file.valid()) return tl::unexpected(Error::FromErrno(path));
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno(path));
  if (kind == FileKind::kRegular && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return Fail(Code::kInvalid, path + " is no regular file");
  }
  std::string text;
  std::array<char, 64 * 1024> piece;
  for (;;) {
    const ssize_t count = read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return tl::unexpected(Error::FromErrno(path));
    if (count == 0) return text;
    text.append(piece.data(), static_cast<size_t>(count));
    if (text.size() > most) {
      return Fail(Code::kLimit, path + " is larger than " + std::to_string(most >> 20) + " MiB");
    }
  }
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
