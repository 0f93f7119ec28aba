#include "runtime/backend/namespaces/conversation.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "base/descriptor_message.h"

namespace sallyport::runtime {
namespace {

constexpr size_t kMaxText = 4096;  // A message with a long path or two.

Status WaitReadable(int socket, std::chrono::steady_clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{socket, POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready > 0) return {};
    if (ready == 0) return Fail(Code::kTimeout, "no answer in time");
    if (errno != EINTR) return tl::unexpected(Error::FromErrno("waiting"));
  }
}

}  // namespace

Status SendPacket(int socket, Packet::Kind kind, std::string_view text, std::span<const int> fds) {
  if (fds.size() > kMaxPacketFds) return Fail(Code::kLimit, "too many descriptors");
  std::string body(1, static_cast<char>(kind));
  body.append(text.substr(0, kMaxText - 1));
  return SendMessage(socket, body, fds);
}

Result<Packet> ReceivePacket(int socket, std::chrono::steady_clock::time_point deadline) {
  auto readable = WaitReadable(socket, deadline);
  if (!readable) return tl::unexpected(std::move(readable).error());
  char body[kMaxText];
  auto message = ReceiveMessage(socket, body, kMaxPacketFds);
  if (!message) return tl::unexpected(std::move(message).error());
  Packet packet;
  if (message->bytes == 0) return packet;
  packet.fds = std::move(message->fds);
  packet.kind = static_cast<Packet::Kind>(body[0]);
  packet.text.assign(body + 1, message->bytes - 1);
  return packet;
}

std::string EncodeError(const Error& error) {
  return std::string(1, static_cast<char>(error.code())) + error.message();
}

Error DecodeError(std::string_view text) {
  if (text.empty() || text[0] < 0 || text[0] > static_cast<char>(Code::kSystem)) {
    return Error(Code::kSystem, "the sandbox's first process failed");
  }
  return Error(static_cast<Code>(text[0]), std::string(text.substr(1)));
}

}  // namespace sallyport::runtime
