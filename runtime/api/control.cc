#include "runtime/api/control.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "runtime/api/files.h"

namespace sallyport {
namespace {

using runtime::ControlReply;
using runtime::ControlRequest;

constexpr std::chrono::seconds kReplyTimeout{10};
constexpr size_t kMaxSocketTable = 64 * 1024 * 1024;

/// The ids under which something listens, by the kernel's table of sockets.
Result<std::vector<std::string>> ListeningIds() {
  auto table = ReadFile("/proc/net/unix", kMaxSocketTable);
  if (!table) return tl::unexpected(std::move(table).error());
  const std::string prefix = "@" + runtime::ControlSocketName(geteuid(), "");
  std::vector<std::string> ids;
  for (const std::string_view line : Lines(*table)) {
    const size_t at = line.rfind(' ');
    if (at == std::string_view::npos) continue;
    std::string_view name = line.substr(at + 1);
    if (!name.starts_with(prefix)) continue;
    ids.emplace_back(name.substr(prefix.size()));
  }
  // An accepted connection has the listener's name, too.
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<ControlReply> Ask(std::string_view id, const ControlRequest& request,
                         const UniqueFd& attached) {
  auto socket = ConnectToControl(geteuid(), id);
  if (!socket) return tl::unexpected(std::move(socket).error());
  const timeval limit{.tv_sec = kReplyTimeout.count(), .tv_usec = 0};
  setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (auto sent = runtime::SendControl(socket->get(), request.Encode(), attached); !sent) {
    return tl::unexpected(std::move(sent).error());
  }
  auto packet = runtime::ReceiveControl(socket->get());
  if (!packet) return tl::unexpected(std::move(packet).error().In("sandbox " + std::string(id)));
  auto reply = ControlReply::Decode(packet->bytes);
  if (!reply) return tl::unexpected(std::move(reply).error().In("sandbox " + std::string(id)));
  if (!reply->done) return Fail(Code::kDenied, std::move(reply->text));
  return reply;
}

}  // namespace

Result<std::string> CompleteSandboxId(std::string_view sandbox) {
  auto ids = ListeningIds();
  if (!ids) return tl::unexpected(std::move(ids).error());
  std::vector<std::string> matching;
  for (const std::string& id : *ids) {
    if (id == sandbox) return id;
    if (!sandbox.empty() && id.starts_with(sandbox)) matching.push_back(id);
  }
  if (matching.size() == 1) return matching[0];
  if (matching.empty()) return std::string(sandbox);  // Connecting says that there is none.
  return Fail(Code::kInvalid, std::string(sandbox) + " begins the ids of " +
                                  std::to_string(matching.size()) + " sandboxes; write more of it");
}

Result<UniqueFd> ConnectToControl(uid_t owner, std::string_view id) {
  const std::string missing =
      "no sandbox " + std::string(id) + " of yours is running; sandboxctl ls shows those that are";
  const auto address = runtime::ControlAddressOf(owner, id);
  if (!address) return Fail(Code::kNotFound, missing);
  UniqueFd connection(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!connection.valid()) return tl::unexpected(Error::FromErrno("control socket"));
  // Whoever has the name need not take connections: then we would wait for ever.
  const timeval limit{.tv_sec = kReplyTimeout.count(), .tv_usec = 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address->name), address->size) !=
      0) {
    if (errno == ECONNREFUSED) return Fail(Code::kNotFound, missing);
    if (errno == EAGAIN) {
      return Fail(Code::kTimeout, "sandbox " + std::string(id) + " takes no connections");
    }
    return tl::unexpected(Error::FromErrno("control socket"));
  }
  // Anybody may listen under any abstract name.
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      peer.uid != owner) {
    return Fail(Code::kDenied, "another user listens where sandbox " + std::string(id) + " should");
  }
  return connection;
}

Result<std::vector<RunningSandbox>> ListSandboxes() {
  auto ids = ListeningIds();
  if (!ids) return tl::unexpected(std::move(ids).error());
  std::vector<RunningSandbox> running;
  for (const std::string& id : *ids) {
    const auto reply = Ask(id, {"info", {}}, UniqueFd());
    // Gone meanwhile, or still starting.
    if (!reply || reply->rows.size() != 1 || reply->rows[0].size() != 4) continue;
    const auto& row = reply->rows[0];
    running.push_back({row[0], row[1], row[2], row[3]});
  }
  return running;
}

Result<ControlReply> AskSandbox(std::string_view sandbox, const ControlRequest& request,
                                const UniqueFd& attached) {
  auto id = CompleteSandboxId(sandbox);
  if (!id) return tl::unexpected(std::move(id).error());
  return Ask(*id, request, attached);
}

Result<UniqueFd> ValueFile(std::string_view value) {
  UniqueFd file(memfd_create("sallyport-value", MFD_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("memfd_create"));
  if (pwrite(file.get(), value.data(), value.size(), 0) != static_cast<ssize_t>(value.size())) {
    return tl::unexpected(Error::FromErrno("writing the value"));
  }
  return file;
}

}  // namespace sallyport
