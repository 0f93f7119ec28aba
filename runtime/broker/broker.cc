#include "runtime/broker/broker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "runtime/broker/sources.h"
#include "runtime/confine/confine.h"

namespace sallyport::runtime {

namespace {

constexpr int kAnswerMilliseconds = 5000;  // Local files and memory: far more than any of them takes.
constexpr uint32_t kMaxName = 256;
constexpr uint32_t kMaxAnswer = 64 * 1024;

enum class Answer : uint8_t { kValue = 0, kMessage = 1 };

bool WriteAll(int fd, const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t count = send(fd, next, size, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    next += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

/// WAIT: milliseconds for each piece, or -1.
bool ReadAll(int fd, void* data, size_t size, int wait) {
  char* next = static_cast<char*>(data);
  while (size > 0) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    const int count = poll(&ready, 1, wait);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    const ssize_t got = read(fd, next, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    next += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool SendAnswer(int fd, Answer kind, std::string_view bytes) {
  std::array<char, 5> head;
  head[0] = static_cast<char>(kind);
  const auto length = static_cast<uint32_t>(bytes.size());
  std::memcpy(&head[1], &length, sizeof length);
  return WriteAll(fd, head.data(), head.size()) && WriteAll(fd, bytes.data(), bytes.size());
}

/// The child's whole life: open, confine, answer until the warden is gone.
int Serve(const std::vector<SecretSpec>& specs, UniqueFd values, int socket) {
  auto sources = Sources::Open(specs, std::move(values));
  const auto confined = Confine({.role = ConfineOptions::Role::kBroker, .readable = {}, .max_files = 64});
  if (!confined) {
    SendAnswer(socket, Answer::kMessage, confined.error().message());
    return 1;
  }
  for (;;) {
    uint32_t length = 0;
    if (!ReadAll(socket, &length, sizeof length, -1)) return 0;
    if (length > kMaxName) return 1;
    std::string name(length, '\0');
    if (!ReadAll(socket, name.data(), length, -1)) return 0;
    auto value = sources.Read(name);
    const bool sent = value ? SendAnswer(socket, Answer::kValue, *value)
                            : SendAnswer(socket, Answer::kMessage, value.error().message());
    if (value) secrets::WipeBytes(value->data(), value->size());
    if (!sent) return 0;
  }
}

}  // namespace

Result<Broker> Broker::Start(const std::vector<SecretSpec>& specs, UniqueFd values) {
  std::array<int, 2> pair;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) {
    // Before anything else: a warden that dies now must not leave us behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    prctl(PR_SET_NAME, "sandbox-broker");
    const int socket = theirs.release();
    // What the warden was born with is not ours to hold: the launch message, the control socket.
    for (int fd = 3; fd < 256; ++fd) {
      if (fd != socket && fd != values.get()) close(fd);
    }
    _exit(Serve(specs, std::move(values), socket));
  }
  return Broker(std::move(ours), pid);
}

Result<secrets::Secret> Broker::Read(std::string_view name, secrets::Secret::Form form) {
  const auto length = static_cast<uint32_t>(name.size());
  uint8_t kind = 0;
  uint32_t size = 0;
  if (!WriteAll(socket_.get(), &length, sizeof length) ||
      !WriteAll(socket_.get(), name.data(), name.size()) ||
      !ReadAll(socket_.get(), &kind, sizeof kind, kAnswerMilliseconds) ||
      !ReadAll(socket_.get(), &size, sizeof size, kAnswerMilliseconds) || size > kMaxAnswer) {
    return Fail(Code::kSystem, "the broker does not answer");
  }
  std::string bytes(size, '\0');
  if (!ReadAll(socket_.get(), bytes.data(), size, kAnswerMilliseconds)) {
    return Fail(Code::kSystem, "the broker does not answer");
  }
  if (kind != static_cast<uint8_t>(Answer::kValue)) return Fail(Code::kNotFound, std::move(bytes));
  auto secret = secrets::Secret::Create(bytes, form);
  secrets::WipeBytes(bytes.data(), bytes.size());
  return secret;
}

}  // namespace sallyport::runtime
