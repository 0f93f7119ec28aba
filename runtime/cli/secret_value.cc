#include "runtime/cli/secret_value.h"

#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "runtime/api/control.h"

namespace sallyport::cli {
namespace {

constexpr size_t kMaxValue = 64 * 1024;

/// Keeps the terminal from showing what is typed.
class NoEcho {
 public:
  NoEcho() : active_(tcgetattr(STDIN_FILENO, &saved_) == 0) {
    if (!active_) return;
    termios silent = saved_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    std::fputs("Value: ", stderr);
  }
  ~NoEcho() {
    if (!active_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_);
    std::fputs("\n", stderr);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  termios saved_{};
  const bool active_;
};

/// A value on its way, wiped when it is through.
struct Value {
  char bytes[kMaxValue + 2];
  size_t size = 0;
  ~Value() { explicit_bzero(bytes, sizeof bytes); }
  std::string_view text() const {
    const std::string_view all(bytes, size);
    return all.ends_with('\n') ? all.substr(0, size - 1) : all;
  }
};

Result<UniqueFd> Finish(const Value& value) {
  if (value.text().empty()) return Fail(Code::kInvalid, "the value is empty");
  if (value.text().size() > kMaxValue) return Fail(Code::kLimit, "the value is longer than 64 KiB");
  return ValueFile(value.text());
}

Result<UniqueFd> ReadFrom(int fd, const std::string& what) {
  Value value;
  while (value.size < sizeof value.bytes) {
    const ssize_t got = read(fd, value.bytes + value.size, sizeof value.bytes - value.size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(Error::FromErrno(what));
    if (got == 0) break;
    value.size += static_cast<size_t>(got);
    if (isatty(fd) == 1 && value.bytes[value.size - 1] == '\n') break;
  }
  return Finish(value);
}

}  // namespace

std::shared_ptr<ValueSource> AddValueOptions(CLI::App& command) {
  auto source = std::make_shared<ValueSource>();
  auto* variable =
      command.add_option("--env", source->variable, "Takes the value from this variable");
  command.add_option("--file", source->file, "Takes the value from this file")->excludes(variable);
  return source;
}

Result<UniqueFd> ReadValue(const ValueSource& source) {
  if (!source.variable.empty()) {
    const char* value = std::getenv(source.variable.c_str());
    if (value == nullptr)
      return Fail(Code::kNotFound, "the variable " + source.variable + " is not set");
    if (*value == '\0')
      return Fail(Code::kInvalid, "the variable " + source.variable + " is empty");
    return ValueFile(value);
  }
  if (!source.file.empty()) {
    const UniqueFd file(open(source.file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) return tl::unexpected(Error::FromErrno(source.file));
    return ReadFrom(file.get(), source.file);
  }
  const NoEcho silent;
  return ReadFrom(STDIN_FILENO, "reading the value");
}

}  // namespace sallyport::cli
