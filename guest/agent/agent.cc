#include "guest/agent/agent.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "guest/agent/browser_trust.h"
#include "guest/agent/dialled_datagrams.h"
#include "guest/agent/dialled_stream.h"
#include "guest/agent/files.h"
#include "guest/agent/java_trust.h"
#include "guest/agent/lockdown.h"
#include "guest/agent/trust_store.h"
#include "guest/protocol/messages.h"

namespace sallyport::guest {
namespace {

// Programs at once. Each may have kInitialCredit of stdin waiting here: 16 MiB together. Six
// descriptors each while they start: within the usual limit of 1024.
constexpr size_t kMaxPrograms = 64;
// Dialled streams at once, one descriptor each: with those of the programs within the usual limit
// of 1024. More than the host opens, which may give one up before this end has.
constexpr size_t kMaxDialled = 512;
// Dead processes collected in one turn, so that a program that leaves many can't keep others
// waiting.
constexpr int kReapedATurn = 256;
constexpr size_t kMaxPasswd = size_t{1024} * 1024;

Account RootAccount() {
  const auto passwd = ReadSmallFile("/etc/passwd", kMaxPasswd);
  return FindRoot(passwd ? std::string_view(*passwd) : std::string_view());
}

}  // namespace

Status Agent::Start() {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  signals_ = UniqueFd(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return tl::unexpected(Error::FromErrno("signalfd"));
  auto watch = loop_.Watch(signals_.get(), EPOLLIN, [this](uint32_t) { OnChildren(); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  signals_watch_ = *std::move(watch);
  // Before the connection's, so that a stream is free again when its kExit leaves.
  turn_end_ = loop_.AtTurnEnd([this] { RemoveFinished(); });
  Status started = host_.Start({.on_frame = [this](const Frame& frame) { OnFrame(frame); },
                                .on_end = [this](const Error&) { state_ = State::kEnded; },
                                .on_room = [this] { OnRoom(); }});
  if (!started) return started;
  host_.Send(FrameType::kHello, 0, Hello{.generation = kGeneration}.Encode());
  return {};
}

void Agent::Fail(const Error& error) {
  host_.Send(FrameType::kError, 0,
             ErrorMessage{.exit_code = 125, .message = error.message()}.Encode());
  host_.FinishSending();
  state_ = State::kEnded;
}

void Agent::OnFrame(const Frame& frame) {
  if (ended()) return;
  if (Status handled = Handle(frame); !handled) Fail(handled.error());
}

Status Agent::Handle(const Frame& frame) {
  if (state_ == State::kExpectsHello && frame.type != FrameType::kHello) {
    return sallyport::Fail(Code::kInvalid, "a frame before the hello");
  }
  if (frame.type == FrameType::kExec) return OnExec(frame);
  if (frame.type == FrameType::kDial) return OnDial(frame);
  return frame.stream == 0 ? OnConnectionFrame(frame) : OnStreamFrame(frame);
}

Status Agent::OnConnectionFrame(const Frame& frame) {
  switch (frame.type) {
    case FrameType::kHello:
      return OnHello(frame);
    case FrameType::kTrust:
      return OnTrust(frame);
    case FrameType::kPing:
      if (frame.payload.size() > kMaxPayload) {
        return sallyport::Fail(Code::kInvalid, "a ping longer than a frame");
      }
      host_.Send(FrameType::kPong, 0, frame.payload);
      return {};
    case FrameType::kPong:
      return {};
    case FrameType::kError:
      state_ = State::kEnded;
      return {};
    default:
      return sallyport::Fail(Code::kInvalid, "a frame that has no place on stream 0");
  }
}

Status Agent::OnHello(const Frame& frame) {
  if (state_ != State::kExpectsHello) return sallyport::Fail(Code::kInvalid, "a second hello");
  const auto hello = Hello::Decode(frame.payload);
  if (!hello) return tl::unexpected(hello.error());
  // The lower generation is spoken. Ours is the first there was, so it is never above the host's.
  static_assert(kGeneration == 1);
  state_ = State::kExpectsTrust;
  return {};
}

Status Agent::OnTrust(const Frame& frame) {
  if (state_ != State::kExpectsTrust) return sallyport::Fail(Code::kInvalid, "a second trust");
  const auto trust = Trust::Decode(frame.payload);
  if (!trust) return tl::unexpected(trust.error());
  // First: the paths written to next are the image's, and may lead anywhere in the sandbox. This
  // way they lead nowhere that a program could not go by itself.
  if (Status locked = EnterLockdown(); !locked) return locked;
  if (!trust->ca_pem.empty()) {
    Status installed = InstallTrust(*trust);
    if (!installed)
      return tl::unexpected(std::move(installed).error().In("trusting the gate's CA"));
    const JavaTrust java = InstallJavaTrust(trust->ca_pem, kCaBundle);
    ca_ = java == JavaTrust::kNeedsVariable ? GateCa::kAlsoInJavaStore : GateCa::kInFiles;
    ca_pem_ = trust->ca_pem;
  }
  state_ = State::kServes;
  host_.Send(FrameType::kTrust, 0);
  // The host takes this long to send the first program, whose home it is, unless it has another.
  if (ca_ != GateCa::kNone) ahead_ = loop_.Post([this] { PrepareHome(RootAccount().home); });
  return {};
}

Status Agent::OnExec(const Frame& frame) {
  if (InUse(frame.stream)) {
    return sallyport::Fail(Code::kInvalid, "a program for a stream that is in use");
  }
  auto exec = Exec::Decode(frame.payload);
  if (!exec) return tl::unexpected(std::move(exec).error());
  if (state_ != State::kServes) {
    Refuse(frame.stream, "no program starts before the trust message");
    return {};
  }
  if (programs_.size() >= kMaxPrograms) {
    Refuse(frame.stream, "64 programs at most run at once through the agent");
    return {};
  }
  for (const auto& [path, content] : exec->files) {
    if (Status placed = PlaceFile(path, content); !placed) {
      Refuse(frame.stream, std::move(placed).error().In("writing a template").message());
      return {};
    }
  }
  auto& program = programs_[frame.stream];
  program =
      std::make_unique<Program>(loop_, host_, frame.stream, [this] { some_finished_ = true; });
  if (Status granted = program->OnOpened(frame.credit); !granted) return granted;
  StartProgram(*program, *std::move(exec));
  return {};
}

bool Agent::PrepareHome(const std::string& home) {
  if (ca_ == GateCa::kNone || !HasNss()) return false;
  InstallNssTrust(ca_pem_, home);
  return true;
}

void Agent::StartProgram(Program& program, Exec exec) {
  const Environment environment(exec, RootAccount(), ca_);
  const std::string home(environment.Get("HOME"));
  const bool prepared = PrepareHome(home);
  program.Start(std::move(exec), environment);
  // The rest holds up no start: nobody needs it before a program of the distribution's has run, has
  // installed a browser, or is one that has been starting for a tenth of a second, as Firefox does.
  if (ca_ == GateCa::kNone) return;
  if (!prepared) InstallNssTrust(ca_pem_, home);
  if (std::exchange(trust_completed_, true)) return;
  InstallFirefoxTrust();
  KeepTrustOnUpdates(ca_pem_);
}

Status Agent::OnDial(const Frame& frame) {
  if (InUse(frame.stream)) {
    return sallyport::Fail(Code::kInvalid, "a connection for a stream that is in use");
  }
  auto dial = Dial::Decode(frame.payload);
  if (!dial) return tl::unexpected(std::move(dial).error());
  if (state_ != State::kServes) {
    Refuse(frame.stream, "nothing is connected to before the trust message");
    return {};
  }
  if (dialled_.size() >= kMaxDialled) {
    Refuse(frame.stream, "512 connections at most go through the agent");
    return {};
  }
  const auto on_finished = [this] { some_finished_ = true; };
  if (dial->transport == Dial::Transport::kTcp) {
    auto stream = std::make_unique<DialledStream>(loop_, host_, frame.stream, *std::move(dial),
                                                  on_finished);
    stream->Start();
    dialled_[frame.stream] = std::move(stream);
  } else {
    auto datagrams = std::make_unique<DialledDatagrams>(loop_, host_, frame.stream,
                                                        *std::move(dial), on_finished);
    datagrams->Start();
    dialled_[frame.stream] = std::move(datagrams);
  }
  return {};
}

bool Agent::InUse(uint32_t stream) const {
  return stream == 0 || programs_.contains(stream) || dialled_.contains(stream);
}

void Agent::Refuse(uint32_t stream, const std::string& why) {
  host_.Send(FrameType::kError, stream, ErrorMessage{.exit_code = 125, .message = why}.Encode());
}

Status Agent::OnStreamFrame(const Frame& frame) {
  const auto dialled = dialled_.find(frame.stream);
  if (dialled != dialled_.end()) return dialled->second->OnFrame(frame);
  const auto program = programs_.find(frame.stream);
  // Sent before the host knew that the stream is over.
  if (program == programs_.end()) return {};
  return program->second->OnFrame(frame);
}

void Agent::OnChildren() {
  signalfd_siginfo ignored;
  while (read(signals_.get(), &ignored, sizeof ignored) > 0) {
  }
  ReapSome();
}

void Agent::ReapSome() {
  more_children_ = {};
  for (int i = 0; i < kReapedATurn; ++i) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    OnReaped(pid, status);
  }
  more_children_ = loop_.Post([this] { ReapSome(); });
}

void Agent::OnReaped(pid_t pid, int wait_status) {
  for (const auto& [stream, program] : programs_) {
    if (program->has_process() && program->pid() == pid) return program->OnReaped(wait_status);
  }
  // An orphan: PID 1 inherits them all, and has nobody to tell.
}

void Agent::OnRoom() {
  for (const auto& [stream, program] : programs_) program->UpdateOutput();
  // Not at once: this is a turn's end, and what they send now would wait for the next event.
  if (!dialled_.empty()) room_ = loop_.Post([this] { ResumeDialled(); });
}

void Agent::ResumeDialled() {
  for (const auto& [stream, dialled] : dialled_) dialled->OnRoom();
}

void Agent::RemoveFinished() {
  if (!std::exchange(some_finished_, false)) return;
  std::erase_if(programs_, [](const auto& entry) { return entry.second->finished(); });
  std::erase_if(dialled_, [](const auto& entry) { return entry.second->finished(); });
}

}  // namespace sallyport::guest
