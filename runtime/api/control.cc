#include "runtime/api/control.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

#include "runtime/api/files.h"

namespace sallyport {
namespace {

using runtime::ControlReply;
using runtime::ControlRequest;

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kReplyTimeout{10'000};
// What runs answers within a turn of its loop, on a busy host, too; what starts may take long, to
// fetch an image or to run a secret's command.
constexpr milliseconds kListPatience{2'000};
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

/// Lets calls on SOCKET that wait in the direction of OPTION (SO_RCVTIMEO, SO_SNDTIMEO) fail after
/// TIME; without end for 0.
void Limit(const UniqueFd& socket, int option, milliseconds time) {
  const timeval limit{.tv_sec = time.count() / 1000, .tv_usec = time.count() % 1000 * 1000};
  setsockopt(socket.get(), SOL_SOCKET, option, &limit, sizeof limit);
}

// For Begin(): who does not take a connection at once is not waited for.
constexpr milliseconds kNoPatience{0};

/// ConnectToControl, which waits for PATIENCE; kTimeout after it. With kNoPatience no call on what
/// it returns waits.
Result<UniqueFd> Connect(uid_t owner, std::string_view id, milliseconds patience) {
  const std::string missing =
      "no sandbox " + std::string(id) + " of yours is running; sandboxctl ls shows those that are";
  const auto address = runtime::ControlAddressOf(owner, id);
  if (!address) return Fail(Code::kNotFound, missing);
  const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (patience == kNoPatience ? SOCK_NONBLOCK : 0);
  UniqueFd connection(socket(AF_UNIX, type, 0));
  if (!connection.valid()) return tl::unexpected(Error::FromErrno("control socket"));
  // Whoever has the name need not take connections: then we would wait for ever.
  Limit(connection, SO_SNDTIMEO, patience);
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

/// A connection to sandbox ID over which REQUEST went.
Result<UniqueFd> Begin(std::string_view id, const ControlRequest& request, const UniqueFd& attached,
                       milliseconds patience) {
  auto socket = Connect(geteuid(), id, patience);
  if (!socket) return tl::unexpected(std::move(socket).error());
  Limit(*socket, SO_RCVTIMEO, patience);
  if (auto sent = runtime::SendControl(socket->get(), request.Encode(), attached); !sent) {
    return tl::unexpected(std::move(sent).error());
  }
  return socket;
}

/// The reply to what went over SOCKET to sandbox ID.
Result<ControlReply> Finish(std::string_view id, const UniqueFd& socket) {
  auto packet = runtime::ReceiveControl(socket.get());
  if (!packet) return tl::unexpected(std::move(packet).error().In("sandbox " + std::string(id)));
  auto reply = ControlReply::Decode(packet->bytes);
  if (!reply) return tl::unexpected(std::move(reply).error().In("sandbox " + std::string(id)));
  if (!reply->done) return Fail(Code::kDenied, std::move(reply->text));
  return reply;
}

Result<ControlReply> Ask(std::string_view id, const ControlRequest& request,
                         const UniqueFd& attached) {
  auto socket = Begin(id, request, attached, kReplyTimeout);
  if (!socket) return tl::unexpected(std::move(socket).error());
  return Finish(id, *socket);
}

/// Sandbox ID, as it says over SOCKET before DEADLINE; nothing when it is gone meanwhile.
std::optional<RunningSandbox> ReadInfo(const std::string& id, const UniqueFd& socket,
                                       SteadyClock::time_point deadline) {
  const RunningSandbox silent{.id = id, .starting = true, .policy = {}, .backend = {}, .link = {}};
  pollfd answered{.fd = socket.get(), .events = POLLIN, .revents = 0};
  int ready;
  do {
    const auto left = std::chrono::ceil<milliseconds>(deadline - SteadyClock::now());
    ready = poll(&answered, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return silent;
  const auto reply = Finish(id, socket);
  if (!reply || reply->rows.size() != 1 || reply->rows[0].size() != 4) return std::nullopt;
  const auto& row = reply->rows[0];
  return RunningSandbox{
      .id = row[0], .starting = false, .policy = row[1], .backend = row[2], .link = row[3]};
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
  return Connect(owner, id, kReplyTimeout);
}

Result<std::vector<RunningSandbox>> ListSandboxes() {
  auto ids = ListeningIds();
  if (!ids) return tl::unexpected(std::move(ids).error());
  // All are asked before one is waited for: so that none takes another's time, a queue that is full
  // of those who asked before isn't waited for either.
  std::vector<std::pair<std::string, Result<UniqueFd>>> asked;
  for (std::string& id : *ids) {
    auto socket = Begin(id, {"info", {}}, UniqueFd(), kNoPatience);
    asked.emplace_back(std::move(id), std::move(socket));
  }
  const auto deadline = SteadyClock::now() + kListPatience;
  std::vector<RunningSandbox> running;
  for (auto& [id, socket] : asked) {
    if (socket) {
      if (auto sandbox = ReadInfo(id, *socket, deadline)) running.push_back(*std::move(sandbox));
    } else if (socket.error().code() == Code::kTimeout) {
      running.push_back({.id = id, .starting = true, .policy = {}, .backend = {}, .link = {}});
    } else if (socket.error().code() != Code::kNotFound && socket.error().code() != Code::kDenied) {
      return tl::unexpected(std::move(socket).error());  // Neither gone meanwhile, nor another's.
    }
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
