#include "runtime/broker/approver.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "runtime/broker/approval_answer.h"
#include "runtime/broker/approver_packets.h"
#include "runtime/broker/approver_runner.h"
#include "runtime/broker/helper_process.h"

namespace sallyport::runtime {

Result<std::unique_ptr<Approver>> Approver::Start(const CommandSource& command,
                                                  std::chrono::milliseconds timeout,
                                                  const Variables& variables) {
  auto socket = StartHelper("sandbox-approve", variables, [&](UniqueFd theirs, Variables own) {
    return ServeApprover(std::move(theirs), command, timeout, std::move(own));
  });
  if (!socket)
    return tl::unexpected(std::move(socket).error().In("the process that asks a command"));
  return std::unique_ptr<Approver>(new Approver(command.argv.front(), *std::move(socket)));
}

Status Approver::Attach(Loop& loop) {
  loop_ = &loop;
  auto watch = loop.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { OnReady(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  watch_ = *std::move(watch);
  return {};
}

Pending Approver::Ask(std::string_view document, std::function<void(Result<ApprovalAnswer>)> done) {
  const uint64_t id = next_id_++;
  Asked& asked = asked_[id];
  asked.done = std::move(done);
  std::string packet(1, kRunApprover);
  AppendNumber(id, 8, packet);
  packet.append(document);
  const ssize_t sent =
      send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(packet.size())) {
    asked.later = loop_->Post([this, id] {
      Finish(id, Fail(Code::kSystem, "the process that asks a command takes no more"));
    });
  }
  return Pending([this, id] {
    if (asked_.erase(id) == 0) return;
    std::string end(1, kEndApprover);
    AppendNumber(id, 8, end);
    // One that is not told ends when its time is over; nobody hears its answer.
    [[maybe_unused]] const ssize_t told =
        send(socket_.get(), end.data(), end.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  });
}

void Approver::OnReady() {
  std::string packet(kMaxApproverPacket, '\0');
  const ssize_t size = recv(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < static_cast<ssize_t>(kApproverAnswerHead)) {
    watch_ = {};
    while (!asked_.empty()) {
      Finish(asked_.begin()->first, Fail(Code::kSystem, "the process that asks a command is gone"));
    }
    return;
  }
  const std::string_view answer(packet.data(), static_cast<size_t>(size));
  const uint64_t id = NumberAt(answer, 1, 8);
  std::string_view rest = answer.substr(kApproverAnswerHead);
  if (answer[0] != 0) return Finish(id, Fail(Code::kInvalid, std::string(rest)));
  const std::string complaint(rest.substr(0, NumberAt(answer, 10, 2)));
  rest.remove_prefix(complaint.size());
  auto judged = JudgeCommand(static_cast<int>(NumberAt(answer, 9, 1)), rest);
  if (!judged && !complaint.empty()) {
    judged = Fail(Code::kInvalid, judged.error().message() + ": " + complaint);
  }
  Finish(id, std::move(judged));
}

void Approver::Finish(uint64_t id, Result<ApprovalAnswer> result) {
  auto node = asked_.extract(id);
  if (node.empty()) return;  // Nobody waits any more.
  const auto done = std::move(node.mapped().done);
  if (result) return done(std::move(result));
  done(tl::unexpected(std::move(result).error().In(program_)));
}

}  // namespace sallyport::runtime
