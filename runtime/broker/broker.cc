#include "runtime/broker/broker.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace sallyport::runtime {

namespace {

Result<UniqueFd> LaunchFile(const BrokerLaunch& launch) {
  UniqueFd file(memfd_create("sallyport-broker", MFD_CLOEXEC));
  if (!file.valid()) return tl::unexpected(Error::FromErrno("memfd_create"));
  const std::string bytes = launch.Encode();
  if (pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("writing the broker's launch message"));
  }
  return file;
}

/// What the child does between its birth and the exec.
class SpawnActions {
 public:
  SpawnActions() { posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  /// FD becomes TO in the child. It goes by a number that no other one becomes.
  Status Give(int fd, int to) {
    UniqueFd& copy = copies_.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, kBrokerValuesFd + 1));
    if (!copy.valid()) return tl::unexpected(Error::FromErrno("dup"));
    posix_spawn_file_actions_adddup2(&actions_, copy.get(), to);
    return {};
  }

  Result<pid_t> Run(const std::string& program) {
    posix_spawn_file_actions_addclosefrom_np(&actions_, kBrokerValuesFd + 1);
    char name[] = "sandbox-broker";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    pid_t pid = -1;
    const int error = posix_spawn(&pid, program.c_str(), &actions_, nullptr, argv, envp);
    if (error != 0) return Fail(Code::kSystem, program + ": " + std::strerror(error));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  std::vector<UniqueFd> copies_;
};

tl::unexpected<Error> Gone() {
  return Fail(Code::kSystem, "the broker died");
}

}  // namespace

Result<Broker> Broker::Start(const std::string& program, const BrokerLaunch& launch,
                             UniqueFd values) {
  std::array<int, 2> pair;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(pair[0]);
  const UniqueFd theirs(pair[1]);
  const auto file = LaunchFile(launch);
  if (!file) return tl::unexpected(file.error());
  SpawnActions actions;
  for (const auto& [fd, to] : {std::pair(theirs.get(), BrokerFd::kBrokerSocketFd),
                               std::pair(file->get(), BrokerFd::kBrokerLaunchFd),
                               std::pair(values.get(), BrokerFd::kBrokerValuesFd)}) {
    if (auto given = actions.Give(fd, to); !given) return tl::unexpected(std::move(given).error());
  }
  auto pid = actions.Run(program);
  if (!pid) return tl::unexpected(std::move(pid).error());
  return Broker(std::move(ours), *pid);
}

Status Broker::Ask(uint16_t secret) {
  BrokerRequest request;
  request.secret = secret;
  return Send(request);
}

Status Broker::Send(const BrokerRequest& request) {
  outbox_.erase(0, std::exchange(outbox_sent_, 0));
  outbox_.append(request.Encode());
  return SendRest();
}

Status Broker::SendRest() {
  while (unsent() > 0) {
    const ssize_t sent = send(socket_.get(), outbox_.data() + outbox_sent_, unsent(),
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return {};
    // One that ended has said why, and whoever waits for the answer reads that.
    if (sent < 0 && errno != EPIPE) return Gone();
    outbox_sent_ = sent < 0 ? outbox_.size() : outbox_sent_ + static_cast<size_t>(sent);
  }
  outbox_.clear();
  outbox_sent_ = 0;
  return {};
}

Status Broker::SendAll(const BrokerRequest& request, Clock::time_point deadline) {
  auto sent = Send(request);
  while (sent && unsent() > 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd room{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    const int count = left.count() <= 0 ? 0 : poll(&room, 1, static_cast<int>(left.count()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Fail(Code::kTimeout, "the broker did not listen in time");
    sent = SendRest();
  }
  return sent;
}

/// Whether something was there.
Result<bool> Broker::Receive() {
  const auto [space, room] = reader_->Space();
  const ssize_t size = recv(socket_.get(), space, room, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (size <= 0) return Gone();
  reader_->Stored(static_cast<size_t>(size));
  return true;
}

Result<BrokerAnswer> Broker::Await(Clock::time_point deadline) {
  for (;;) {
    auto answer = reader_->Next();
    if (!answer) return tl::unexpected(std::move(answer).error());
    if (*answer && (*answer)->kind == BrokerAnswer::Kind::kFatal)
      return Fail(Code::kSystem, (*answer)->bytes.text);
    if (*answer) return **std::move(answer);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    const int count = left.count() <= 0 ? 0 : poll(&ready, 1, static_cast<int>(left.count()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Fail(Code::kTimeout, "the broker did not answer in time");
    if (const auto received = Receive(); !received) return tl::unexpected(received.error());
  }
}

Status Broker::TakeAnswers(const std::function<void(BrokerAnswer)>& on_answer) {
  auto received = Receive();
  if (!received) return tl::unexpected(std::move(received).error());
  for (;;) {
    auto answer = reader_->Next();
    if (!answer) return tl::unexpected(std::move(answer).error());
    if (!*answer) return {};
    if ((*answer)->kind == BrokerAnswer::Kind::kFatal)
      return Fail(Code::kSystem, (*answer)->bytes.text);
    on_answer(**std::move(answer));
  }
}

}  // namespace sallyport::runtime
