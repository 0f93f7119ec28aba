// The frames of the owner and of the agent: who may say what, and what is passed on to the other. What
// the agent says is hostile: it may only speak on the owner's stream and on those of published ports,
// and its frames are relayed, never acted on, but for the last.

#include "runtime/warden/warden_channels.h"

#include <fcntl.h>

#include <utility>

#include "runtime/warden/template_file.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
using guest::Frame;
using guest::FrameType;

namespace {

constexpr auto kAgentDeadline = 10s;  // From the start to the agent's first word.

}  // namespace

void Warden::OwnerChannel::OnChannelDrained() {
  if (warden_.agent_) warden_.agent_->channel->Resume();
}

Status Warden::ConnectAgent() {
  auto agent = AgentChannel::Create(*this, std::move(workload_.agent));
  if (!agent) return tl::unexpected(std::move(agent).error());
  agent_ = *std::move(agent);
  agent_->channel->Send(FrameType::kHello, 0, guest::Hello{guest::kGeneration}.Encode());
  guest::Trust trust;
  if (interceptor_) {
    trust.ca_pem = interceptor_->trust_anchor().pem;
    trust.subject_hash = interceptor_->trust_anchor().subject_hash;
  }
  timeout_ = loop_->After(kAgentDeadline, [this] { Fail(125, "the sandbox's agent does not answer"); });
  return agent_->channel->SendMessage(FrameType::kTrust, 0, trust.Encode());
}

Status Warden::ConnectOwner() {
  // A copy, so that an error of this step can still be told.
  UniqueFd copy(fcntl(descriptors_.control.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return tl::unexpected(Error::FromErrno("dup"));
  auto owner = OwnerChannel::Create(*this, std::move(copy));
  if (!owner) return tl::unexpected(std::move(owner).error());
  owner_ = *std::move(owner);
  descriptors_.control.reset();
  return {};
}

void Warden::OnOwnerFrame(Frame frame) {
  if (ended_) return;
  switch (frame.type) {
    case FrameType::kExec:
      return OnExec(frame);
    case FrameType::kStdin:
    case FrameType::kSignal:
    case FrameType::kResize:
    case FrameType::kCredit:
      if (stream_ == 0 || frame.stream != stream_) return;
      agent_->channel->Send(frame.type, frame.stream, frame.payload, frame.flags, frame.credit);
      if (agent_->channel->full()) owner_->channel->Pause();
      return;
    default:
      return Fail(125, "the owner sent a frame that a warden doesn't take");
  }
}

void Warden::OnExec(const Frame& frame) {
  if (stream_ != 0 || frame.stream == 0 || PublishedPorts::Owns(frame.stream)) {
    return Fail(125, "one sandbox runs one program");
  }
  auto exec = guest::Exec::Decode(frame.payload);
  if (!exec) return Fail(125, exec.error().message());
  std::vector<std::pair<std::string, std::string>> env = engine_->sandbox().env;
  for (auto& variable : secrets_.GuestEnvironment()) env.push_back(std::move(variable));
  // What the owner sets for this one run comes last, and wins.
  env.insert(env.end(), exec->env.begin(), exec->env.end());
  exec->env = std::move(env);
  for (const auto& [path, text] : launch_.templates) {
    exec->files.emplace_back(path, ExpandTemplate(text, secrets_));
  }
  stream_ = frame.stream;
  if (auto status = agent_->channel->SendMessage(FrameType::kExec, stream_, exec->Encode()); !status) {
    Fail(125, status.error().message());
  }
}

void Warden::OnAgentFrame(Frame frame) {
  if (ended_) return;  // What followed its last word in the same read.
  if (frame.type == FrameType::kHello) return;
  if (frame.type == FrameType::kError && frame.stream == 0) {
    const auto error = guest::ErrorMessage::Decode(frame.payload);
    return Fail(125, "the sandbox's agent: " + (error ? error->message : "failed"));
  }
  if (frame.type == FrameType::kTrust) return OnTrusted();
  if (PublishedPorts::Owns(frame.stream)) {
    if (auto taken = ports_->OnFrame(frame); !taken) {
      Fail(125, "the sandbox's agent broke the protocol: " + taken.error().message());
    }
    return;
  }
  if (stream_ == 0 || frame.stream != stream_) return;
  switch (frame.type) {
    case FrameType::kExit:
    case FrameType::kError:
      return End(frame.type, frame.stream, std::move(frame.payload));
    case FrameType::kStarted:
    case FrameType::kStdout:
    case FrameType::kStderr:
    case FrameType::kCredit:
      if (frame.payload.size() > guest::kMaxPayload) return Fail(125, "the sandbox's agent broke the protocol");
      owner_->channel->Send(frame.type, frame.stream, frame.payload, frame.flags, frame.credit);
      if (owner_->channel->full()) agent_->channel->Pause();
      return;
    default:
      return;
  }
}

/// The agent serves.
void Warden::OnTrusted() {
  if (std::exchange(launched_, true)) return;
  timeout_ = {};
  if (launch_.timeout.count() > 0) {
    timeout_ = loop_->After(launch_.timeout, [this] { Fail(124, "time is over"); });
  }
  if (auto opened = ports_->Open(); !opened) return Fail(125, opened.error().message());
  owner_->channel->Send(FrameType::kLaunched, 0,
                        Launched{launch_.sandbox, backend_name_, std::string(ToString(workload_.link_kind))}
                            .Encode());
}

}  // namespace sallyport::runtime
