// The warden's life:
//
//     BeginWorkload … DescribeWorkload -> LoadPolicy -> StartBroker -> ConfineSelf -> ReadSecrets -> MakeGate
//       -> AwaitWorkload -> OpenLink -> ConnectAgent -> PublishPorts -> ConnectOwner -> ServeCommands -> Run … -> End
//
// The workload begins before the launch message is there, with what is the same in every sandbox, and
// makes the rest while this process does all up to AwaitWorkload.
// Any error before Run ends the process, and with it the broker and the workload, which die with their
// parent. After that, exactly one End() tells the owner how it went. What the agent says is hostile: it
// may only speak on the owner's stream, and its frames are relayed, never acted on, but for the last.

#include "runtime/warden/warden.h"

#include <sys/socket.h>

#include <cerrno>
#include <ctime>

#include "runtime/backend/namespaces/namespace_backend.h"
#include "runtime/confine/confine.h"
#include "runtime/dial/ares_resolver.h"
#include "runtime/dial/system_roots.h"
#include "runtime/warden/warden_channels.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
using guest::FrameType;

namespace {

constexpr auto kLastWords = 2s;       // How long an owner that doesn't read may hold us up at the end.

}  // namespace

Warden::Warden(std::string backend, Launch launch, Descriptors descriptors)
    : launch_(std::move(launch)),
      descriptors_(std::move(descriptors)),
      backend_name_(std::move(backend)) {}

Warden::~Warden() = default;

Warden::Begun Warden::BeginWorkload() {
  const auto backend = NewNamespaceBackend({});
  return {std::string(backend->name()), backend->Begin()};
}

Warden::Begun Warden::ContinueWorkload(const std::string& words) {
  return {std::string(NewNamespaceBackend({})->name()),
          ContinueNamespaceStart({}, kFirstFreeFd, words)};
}

Result<std::unique_ptr<Warden>> Warden::Start(Begun begun, Launch launch, Descriptors descriptors) {
  if (!begun.workload) {
    TellOwner(descriptors.control.get(), begun.workload.error());
    return tl::unexpected(std::move(begun.workload).error());
  }
  std::unique_ptr<Warden> warden(
      new Warden(std::move(begun.backend), std::move(launch), std::move(descriptors)));
  warden->starting_ = *std::move(begun.workload);
  using Step = Status (Warden::*)();
  for (const Step step : {&Warden::DescribeWorkload, &Warden::LoadPolicy, &Warden::StartBroker,
                          &Warden::ConfineSelf, &Warden::ReadSecrets, &Warden::MakeGate,
                          &Warden::AwaitWorkload, &Warden::OpenLink, &Warden::ConnectAgent,
                          &Warden::PublishPorts, &Warden::ConnectOwner, &Warden::ServeCommands}) {
    if (auto status = (warden.get()->*step)(); !status) {
      TellOwner(warden->descriptors_.control.get(), status.error());
      return tl::unexpected(std::move(status).error());
    }
  }
  return warden;
}

Status Warden::LoadPolicy() {
  auto loaded = policy::Engine::Load({.text = launch_.policy_text,
                                      .name = launch_.policy_name,
                                      .folder = launch_.policy_folder},
                                     UncoveredOf(launch_));
  if (!loaded.engine) {
    return sallyport::Fail(Code::kInvalid, loaded.diagnostics.empty()
                                               ? "the policy does not load"
                                               : loaded.diagnostics.front().ToString());
  }
  engine_ = std::make_unique<policy::LiveEngine>(std::move(loaded.engine));
  for (const auto& named : launch_.secrets) {
    SecretSpec spec;
    spec.name = named.name;
    spec.source = EnvSource{named.name};
    spec.declared_at = "--secret";
    for (const auto& host : named.hosts) {
      auto pattern = HostPattern::Parse(host);
      if (!pattern) return tl::unexpected(std::move(pattern).error().In("--secret " + named.name));
      if (pattern->is_wildcard() && IsPublicSuffix(*pattern->name())) {
        return sallyport::Fail(Code::kInvalid, "--secret " + named.name + ": *." + pattern->name()->text() +
                                                   " spans names of different owners");
      }
      spec.hosts.push_back(*std::move(pattern));
    }
    engine_->AddSecret(std::move(spec));
  }
  return {};
}

Status Warden::DescribeWorkload() {
  WorkloadSpec spec;
  spec.hostname = launch_.hostname;
  for (const auto& mount : launch_.mounts) {
    spec.mounts.push_back({mount.source, mount.target, mount.writable});
  }
  spec.network = launch_.network;
  spec.agent_path = launch_.agent_path;
  spec.masked = launch_.masked;
  return starting_->Describe(spec);
}

Status Warden::AwaitWorkload() {
  auto workload = starting_->Await();
  if (!workload) return tl::unexpected(std::move(workload).error());
  workload_ = *std::move(workload);
  starting_.reset();
  return {};
}

Status Warden::ConfineSelf() {
  system_roots_ = OpenSystemRoots();
  auto loop = Loop::Create();
  if (!loop) return tl::unexpected(std::move(loop).error());
  loop_ = *std::move(loop);
  if (launch_.network) {
    std::vector<Endpoint> servers;
    for (const auto& text : launch_.resolvers) {
      if (const auto endpoint = Endpoint::Parse(text, 53)) servers.push_back(*endpoint);
    }
    auto resolver = NewAresResolver(*loop_, servers);
    if (!resolver) return tl::unexpected(std::move(resolver).error());
    usual_resolver_ = *std::move(resolver);
    resolver_ = std::make_unique<SplitResolver>(
        *usual_resolver_,
        [this](const std::vector<Endpoint>& others) { return NewAresResolver(*loop_, others); });
  }
  // Libraries that read a file at their first use do so now: the time zone, and the public suffixes
  // that wildcards are held against, also those of a policy that is loaded later.
  tzset();
  (void)IsPublicSuffix(*HostName::Parse("example.com"));
  auto confined = Confine(
      {.role = ConfineOptions::Role::kWarden, .readable = {}, .uid = starting_->uid()});
  if (!confined) return tl::unexpected(std::move(confined).error().In("confining the warden"));
  return {};
}

Status Warden::PublishPorts() {
  ports_ = std::make_unique<PublishedPorts>(
      Inbound::Services{.loop = *loop_, .agent = *agent_->channel, .audit = *audit_});
  for (size_t i = 0; i < descriptors_.ports.size(); ++i) {
    auto added = ports_->Add(std::move(descriptors_.ports[i]), launch_.ports[i]);
    if (!added) return tl::unexpected(std::move(added).error());
  }
  descriptors_.ports.clear();
  return {};
}

Status Warden::Run() {
  while (!ended_) {
    auto turned = loop_->RunOnce();
    if (!turned) {
      Fail(125, turned.error().message());
      return tl::unexpected(std::move(turned).error());
    }
  }
  return {};
}

void Warden::Fail(int exit_code, std::string why) {
  if (ended_ || failing_) return;
  // Later, because the caller may be something that End() destroys.
  failing_ = loop_->Post([this, exit_code, text = std::move(why)] {
    End(FrameType::kError, stream_, guest::ErrorMessage{exit_code, text}.Encode());
  });
}

void Warden::End(FrameType type, uint32_t stream, std::string payload) {
  if (std::exchange(ended_, true)) return;
  control_server_.reset();  // Its commands look at what goes now.
  // Connections before the stack that carries them; each writes its last audit record.
  interceptor_.reset();
  stack_.reset();
  gate_.reset();
  ports_.reset();
  capture_.reset();
  if (audit_) FlushAudit(Clock::time_point::max());
  FlushTelemetry();
  if (!owner_) return;
  if (payload.empty() && type == FrameType::kError) return;  // The owner is gone.
  if (auto sent = owner_->channel->SendMessage(type, stream, payload); sent) {
    (void)owner_->channel->Drain(kLastWords);
  }
}

void Warden::TellOwner(int control, const Error& error) {
  std::string bytes;
  if (!guest::AppendMessage(bytes, FrameType::kError, 0, guest::ErrorMessage{125, error.message()}.Encode())) {
    return;
  }
  [[maybe_unused]] const ssize_t sent = send(control, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace sallyport::runtime
