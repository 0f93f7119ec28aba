#include "runtime/broker/errands.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runtime/broker/errand_runner.h"
#include "runtime/broker/helper_process.h"

namespace sallyport::runtime {

Result<std::unique_ptr<Errands>> Errands::Start(Declared declared, const Variables& variables) {
  auto socket = StartHelper("sandbox-errands", variables, [&](UniqueFd theirs, Variables theirs_too) {
    return ServeErrands(std::move(theirs), declared, std::move(theirs_too));
  });
  if (!socket) {
    return tl::unexpected(std::move(socket).error().In("the process that runs commands"));
  }
  return std::unique_ptr<Errands>(new Errands(std::move(declared), *std::move(socket)));
}

Status Errands::Attach(Loop& loop) {
  loop_ = &loop;
  auto watch = loop.Watch(socket_.get(), EPOLLIN, [this](uint32_t) { OnReady(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  watch_ = *std::move(watch);
  return {};
}

Pending Errands::Run(const CommandSource& command, std::function<void(Result<Wiped>)> done) {
  const auto found =
      std::find_if(declared_.commands.begin(), declared_.commands.end(), [&](const auto& other) {
        return other.argv == command.argv && other.folder == command.folder;
      });
  Result<size_t> number = static_cast<size_t>(found - declared_.commands.begin());
  if (found == declared_.commands.end()) number = Fail(Code::kNotFound, "no such command");
  return Ask(kRunCommand, std::move(number), {}, std::move(done));
}

Pending Errands::ReadFile(const std::string& path, std::function<void(Result<Wiped>)> done) {
  return Ask(kReadFile, NumberOf(path), {}, std::move(done));
}

Pending Errands::ReplaceFile(const std::string& path, const Wiped& content,
                             std::function<void(Result<Wiped>)> done) {
  return Ask(kReplaceFile, NumberOf(path), content.text, std::move(done));
}

Result<size_t> Errands::NumberOf(const std::string& path) const {
  const auto found = std::find(declared_.files.begin(), declared_.files.end(), path);
  if (found == declared_.files.end()) return Fail(Code::kNotFound, "no such file");
  return static_cast<size_t>(found - declared_.files.begin());
}

Pending Errands::Ask(uint8_t kind, Result<size_t> number, std::string_view content,
                     std::function<void(Result<Wiped>)> done) {
  const uint64_t id = next_id_++;
  Wiped request;
  // What was not declared goes by a number that the child refuses.
  const size_t which = number ? *number : kNoErrand;
  request.text.reserve(kErrandHead + content.size());
  request.text.push_back(static_cast<char>(kind));
  request.text.push_back(static_cast<char>(which & 0xff));
  request.text.push_back(static_cast<char>(which >> 8));
  request.text.append(content);
  queue_.push_back({id, std::move(request), std::move(done)});
  if (!sent_) send_ = loop_->Post([this] { SendNext(); });
  return Pending([this, id] {
    for (auto& errand : queue_) {
      if (errand.id == id) errand.done = nullptr;
    }
  });
}

void Errands::SendNext() {
  if (sent_ || queue_.empty()) return;
  const std::string& request = queue_.front().request.text;
  sent_ = true;
  if (send(socket_.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    Finish(tl::unexpected(Error::FromErrno("the process that runs commands")));
  }
}

void Errands::OnReady() {
  Wiped answer;
  answer.text.resize(kMaxErrandAnswer);
  const ssize_t size = recv(socket_.get(), answer.text.data(), answer.text.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 1) {
    watch_ = {};
    while (!queue_.empty()) Finish(Fail(Code::kSystem, "the process that runs commands is gone"));
    return;
  }
  Wiped rest;
  rest.text.assign(answer.text, 1, static_cast<size_t>(size) - 1);
  if (answer.text[0] == 0) return Finish(std::move(rest));
  Finish(Fail(Code::kNotFound, rest.text));
}

void Errands::Finish(Result<Wiped> result) {
  if (queue_.empty()) return;  // An answer that nobody asked for.
  auto done = std::move(queue_.front().done);
  queue_.pop_front();
  sent_ = false;
  if (!queue_.empty()) send_ = loop_->Post([this] { SendNext(); });
  if (done) done(std::move(result));
}

}  // namespace sallyport::runtime
