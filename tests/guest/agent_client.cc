#include "tests/guest/agent_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>

namespace sallyport::guest {
namespace {

constexpr int kWaitMs = 60'000;  // For one frame, on a busy machine.
constexpr size_t kMaxUnsent = size_t{512} * 1024;

}  // namespace

AgentClient::AgentClient(UniqueFd fd) : fd_(std::move(fd)) {}

void AgentClient::SendHello() {
  Send(FrameType::kHello, 0, Hello{.generation = 2}.Encode());
}

void AgentClient::SendTrust(const Trust& trust) {
  Send(FrameType::kTrust, 0, trust.Encode());
}

void AgentClient::Open(const Trust& trust) {
  SendHello();
  SendTrust(trust);
  Until([this] { return trusted_ || failure_; });
  if (failure_) FAIL(failure_->message);
  CHECK(greeted_);
}

uint32_t AgentClient::Start(const Exec& exec, const std::string& stdin_bytes) {
  const uint32_t id = StartOpen(exec);
  stream(id).stdin_left = stdin_bytes;
  stream(id).stdin_ends = true;
  return id;
}

uint32_t AgentClient::StartOpen(const Exec& exec) {
  const uint32_t id = next_stream_++;
  streams_[id];
  REQUIRE(AppendMessage(out_, FrameType::kExec, id, exec.Encode()));
  return id;
}

Stream AgentClient::Run(const std::vector<std::string>& argv, const std::string& stdin_bytes) {
  return RunExec({.argv = argv}, stdin_bytes);
}

Stream AgentClient::RunExec(const Exec& exec, const std::string& stdin_bytes) {
  const uint32_t id = Start(exec, stdin_bytes);
  UntilOver(id);
  return stream(id);
}

void AgentClient::Send(FrameType type, uint32_t stream, const std::string& payload, uint8_t flags,
                       uint32_t credit) {
  AppendFrame(out_, type, stream, payload, flags, credit);
}

void AgentClient::Until(const std::function<bool()>& done) {
  while (!done()) {
    if (closed_) FAIL("the agent closed the connection");
    Exchange();
  }
}

void AgentClient::UntilOver(uint32_t id) {
  Until([&] { return stream(id).over(); });
}

void AgentClient::UntilClosed() {
  while (!closed_) Exchange();
}

void AgentClient::Exchange() {
  SendStdin();
  pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (!out_.empty()) ready.events |= POLLOUT;
  REQUIRE(poll(&ready, 1, kWaitMs) == 1);
  if ((ready.revents & POLLIN) != 0) ReadSome();
  if ((ready.revents & (POLLHUP | POLLERR)) != 0 && (ready.revents & POLLIN) == 0) closed_ = true;
  if (closed_ || out_.empty()) return;
  const ssize_t sent = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) out_.erase(0, static_cast<size_t>(sent));
}

void AgentClient::SendStdin() {
  for (auto& [id, stream] : streams_) {
    while (!stream.stdin_left.empty() && stream.send_credit.available() > 0 &&
           out_.size() < kMaxUnsent) {
      const size_t size =
          std::min({stream.stdin_left.size(), kMaxPayload, size_t{stream.send_credit.available()}});
      stream.send_credit.Spend(size);
      Send(FrameType::kStdin, id, stream.stdin_left.substr(0, size));
      stream.stdin_left.erase(0, size);
    }
    if (!stream.stdin_left.empty() || !stream.stdin_ends) continue;
    stream.stdin_ends = false;
    Send(FrameType::kStdin, id, "", kFlagEnd);
  }
}

void AgentClient::ReadSome() {
  std::array<char, kMaxPayload> buffer;
  const ssize_t got = recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    closed_ = true;
    return;
  }
  decoder_.Feed({buffer.data(), static_cast<size_t>(got)});
  for (;;) {
    auto frame = decoder_.Next();
    REQUIRE(frame);
    if (!*frame) return;
    auto message = assembler_.Add(**std::move(frame));
    REQUIRE(message);
    if (*message) OnFrame(**message);
  }
}

void AgentClient::OnFrame(const Frame& frame) {
  if (!greeted_) {
    REQUIRE(frame.type == FrameType::kHello);
    greeted_ = Hello::Decode(frame.payload).value().generation == kGeneration;
    return;
  }
  if (frame.stream == 0) return OnConnectionFrame(frame);
  Stream& stream = streams_.at(frame.stream);
  REQUIRE_FALSE(stream.over());
  REQUIRE(stream.send_credit.Grant(frame.credit));
  switch (frame.type) {
    case FrameType::kStarted:
      stream.started = true;
      break;
    case FrameType::kStdout:
    case FrameType::kStderr:
      OnOutput(stream, frame);
      break;
    case FrameType::kExit:
      stream.exit = Exit::Decode(frame.payload).value();
      break;
    case FrameType::kError:
      stream.error = ErrorMessage::Decode(frame.payload).value();
      break;
    default:
      REQUIRE(frame.type == FrameType::kCredit);
  }
}

void AgentClient::OnConnectionFrame(const Frame& frame) {
  if (frame.type == FrameType::kTrust) {
    trusted_ = true;
  } else if (frame.type == FrameType::kPong) {
    ++pongs_;
  } else {
    REQUIRE(frame.type == FrameType::kError);
    failure_ = ErrorMessage::Decode(frame.payload).value();
  }
}

void AgentClient::OnOutput(Stream& stream, const Frame& frame) {
  const bool out = frame.type == FrameType::kStdout;
  REQUIRE(stream.started);
  REQUIRE_FALSE((out ? stream.out_ended : stream.err_ended));
  REQUIRE(stream.receive_credit.OnReceived(frame.payload.size()));
  (out ? stream.out : stream.err).append(frame.payload);
  (out ? stream.out_ended : stream.err_ended) = frame.end();
  if (!stream.grants) return;
  const uint32_t grant = stream.receive_credit.OnConsumed(frame.payload.size());
  if (grant > 0) Send(FrameType::kCredit, frame.stream, "", 0, grant);
}

}  // namespace sallyport::guest
