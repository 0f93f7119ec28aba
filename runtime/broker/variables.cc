#include "runtime/broker/variables.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace sallyport::runtime {

namespace {

/// What the kernel lets an environment be, and more.
constexpr size_t kMaxVariables = 4 * 1024 * 1024;

/// Fills BYTES from FILE, up to its end; how many there were.
size_t Fill(int file, char* bytes, size_t size) {
  size_t filled = 0;
  while (filled < size) {
    const ssize_t count = read(file, bytes + filled, size - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    filled += static_cast<size_t>(count);
  }
  return filled;
}

Status SendWhole(int socket, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t count = send(socket, bytes, size, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return tl::unexpected(Error::FromErrno("passing the variables"));
    bytes += count;
    size -= static_cast<size_t>(count);
  }
  return {};
}

/// Makes "NAME NUL value NUL" to "NAME=value NUL" in BYTES, and zeros of what is incomplete.
void Join(char* bytes, size_t size) {
  for (char* at = bytes; at < bytes + size;) {
    char* const end = bytes + size;
    auto* name_end = static_cast<char*>(std::memchr(at, '\0', static_cast<size_t>(end - at)));
    auto* value_end = name_end == nullptr
                          ? nullptr
                          : static_cast<char*>(std::memchr(
                                name_end + 1, '\0', static_cast<size_t>(end - name_end - 1)));
    if (value_end == nullptr) {
      explicit_bzero(at, static_cast<size_t>(end - at));
      return;
    }
    *name_end = '=';
    at = value_end + 1;
  }
}

}  // namespace

Result<Variables> Variables::Read(const UniqueFd& values) {
  int waiting = 0;
  if (!values.valid()) return Variables();
  if (ioctl(values.get(), FIONREAD, &waiting) != 0) {
    return tl::unexpected(Error::FromErrno("the variables of the environment"));
  }
  const auto size = static_cast<size_t>(waiting);
  if (size == 0) return Variables();
  if (size > kMaxVariables) return Fail(Code::kLimit, "the environment is larger than 4 MiB");
  auto bytes = secrets::LockedMemory::Create(size);
  if (!bytes) return tl::unexpected(std::move(bytes).error().In("the environment"));
  Join(bytes->data(), Fill(values.get(), bytes->data(), size));
  return Variables(*std::move(bytes));
}

Status Variables::Send(int socket) const {
  const uint64_t size = bytes_.size();
  if (auto sent = SendWhole(socket, reinterpret_cast<const char*>(&size), sizeof size); !sent) {
    return sent;
  }
  return SendWhole(socket, bytes_.data(), bytes_.size());
}

Result<Variables> Variables::Receive(int socket) {
  uint64_t size = 0;
  const auto gone = [] { return Fail(Code::kSystem, "the broker is gone"); };
  if (Fill(socket, reinterpret_cast<char*>(&size), sizeof size) != sizeof size) return gone();
  if (size == 0) return Variables();
  if (size > kMaxVariables) return Fail(Code::kLimit, "the environment is larger than 4 MiB");
  auto bytes = secrets::LockedMemory::Create(size);
  if (!bytes) return tl::unexpected(std::move(bytes).error().In("the environment"));
  if (Fill(socket, bytes->data(), size) != size) return gone();
  return Variables(*std::move(bytes));
}

std::optional<std::string_view> Variables::Find(std::string_view name) const {
  const std::string_view all(bytes_.data(), bytes_.size());
  for (size_t at = 0; at < all.size();) {
    const std::string_view entry = all.substr(at, all.find('\0', at) - at);
    const bool named =
        entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name);
    if (named) return entry.substr(name.size() + 1);
    at += entry.size() + 1;
  }
  return std::nullopt;
}

std::vector<char*> Variables::ForExec() {
  std::vector<char*> entries;
  for (size_t at = 0; at < bytes_.size() && bytes_.data()[at] != '\0';) {
    entries.push_back(bytes_.data() + at);
    at += std::strlen(bytes_.data() + at) + 1;
  }
  entries.push_back(nullptr);
  return entries;
}

}  // namespace sallyport::runtime
