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

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "runtime/backend/namespaces/namespace_backend.h"
#include "runtime/confine/confine.h"
#include "runtime/dial/ares_resolver.h"
#include "runtime/dial/system_roots.h"
#include "runtime/broker/server_list.h"
#include "runtime/warden/broker_outlets.h"
#include "runtime/warden/declared_servers.h"
#include "runtime/warden/links.h"
#include "runtime/warden/template_file.h"
#include "sallyport_versions.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;
using guest::Frame;
using guest::FrameType;

namespace {

constexpr auto kLastWords = 2s;       // How long an owner that doesn't read may hold us up at the end.
constexpr auto kAuditFlush = 1s;      // How late a coalesced line may be.
constexpr auto kFirstValues = 90s;    // A command and a server, each with its own deadline below it.
constexpr auto kTelemetryFlush = 2s;  // How long the end of a sandbox may wait for its collector,
constexpr auto kTelemetryGrace = 500ms;  // and for the broker to say so.
constexpr auto kAgentDeadline = 10s;  // From the start to the agent's first word.

}  // namespace

/// The owner's end: what it asks is done for it.
class Warden::OwnerChannel final : FrameChannel::User {
 public:
  static Result<std::unique_ptr<OwnerChannel>> Create(Warden& warden, UniqueFd socket) {
    auto self = std::unique_ptr<OwnerChannel>(new OwnerChannel(warden));
    auto channel = FrameChannel::Create(*warden.loop_, std::move(socket), "the owner", *self);
    if (!channel) return tl::unexpected(std::move(channel).error());
    self->channel = *std::move(channel);
    return self;
  }
  std::unique_ptr<FrameChannel> channel;

 private:
  explicit OwnerChannel(Warden& warden) : warden_(warden) {}
  void OnFrame(Frame frame) override { warden_.OnOwnerFrame(std::move(frame)); }
  void OnChannelEnd(Error) override { warden_.End(FrameType::kError, 0, {}); }
  void OnChannelDrained() override;
  Warden& warden_;
};

/// The agent's end: hostile.
class Warden::AgentChannel final : FrameChannel::User {
 public:
  static Result<std::unique_ptr<AgentChannel>> Create(Warden& warden, UniqueFd socket) {
    auto self = std::unique_ptr<AgentChannel>(new AgentChannel(warden));
    auto channel = FrameChannel::Create(*warden.loop_, std::move(socket), "the sandbox's agent", *self);
    if (!channel) return tl::unexpected(std::move(channel).error());
    self->channel = *std::move(channel);
    return self;
  }
  std::unique_ptr<FrameChannel> channel;

 private:
  explicit AgentChannel(Warden& warden) : warden_(warden) {}
  void OnFrame(Frame frame) override { warden_.OnAgentFrame(std::move(frame)); }
  void OnChannelEnd(Error why) override { warden_.Fail(125, why.message()); }
  void OnChannelDrained() override {
    if (warden_.owner_) warden_.owner_->channel->Resume();
    if (warden_.ports_) warden_.ports_->OnAgentDrained();
  }
  Warden& warden_;
};

void Warden::OwnerChannel::OnChannelDrained() {
  if (warden_.agent_) warden_.agent_->channel->Resume();
}

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

Status Warden::StartBroker() {
  BrokerLaunch launch;
  for (const auto& spec : engine_->secrets()) launch.secrets.push_back({spec.name, spec.source});
  for (auto& key : ClientKeys(engine_->upstream())) launch.secrets.push_back(std::move(key));
  for (auto& item : ProxyItems(engine_->upstream())) launch.secrets.push_back(std::move(item));
  launch.approvals = ApprovalsOf(engine_->sandbox().approvals, launch_);
  auto telemetry = TelemetryOf(launch_);
  if (!telemetry) return tl::unexpected(std::move(telemetry).error());
  launch.telemetry = *std::move(telemetry);
  if (launch.secrets.empty() && !launch.approvals && !launch.telemetry) {
    descriptors_.values.reset();
    return {};
  }
  launch.resolvers = launch_.resolvers;
  launch.extra_roots = launch_.extra_roots;
  auto servers = Servers(engine_->upstream(), launch_.server_files);
  if (!servers) return tl::unexpected(std::move(servers).error());
  launch.servers = *std::move(servers);
  launch.proxy = engine_->upstream().proxy;
  auto broker = Broker::Start(launch_.broker_path, launch, std::move(descriptors_.values));
  if (!broker) return tl::unexpected(std::move(broker).error().In("starting the broker"));
  broker_ = *std::move(broker);
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
  if (launch_.network) {  // Here, because c-ares looks at the system's files when it starts.
    std::vector<Endpoint> servers;
    for (const auto& text : launch_.resolvers) {
      if (const auto endpoint = Endpoint::Parse(text, 53)) servers.push_back(*endpoint);
    }
    auto resolver = NewAresResolver(*loop_, servers);
    if (!resolver) return tl::unexpected(std::move(resolver).error());
    resolver_ = *std::move(resolver);
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

Status Warden::ReadSecrets() {
  if (!broker_) return {};
  const auto& specs = engine_->secrets();
  const auto keys = ClientKeys(engine_->upstream());  // Behind the secrets.
  const auto proxy = ProxyItems(engine_->upstream());  // Behind those.
  const size_t count = specs.size() + keys.size() + proxy.size();
  keeper_ = std::make_unique<SecretKeeper>(*loop_, secrets_, [this](uint16_t secret) {
    if (auto asked = broker_->Ask(secret); !asked) Fail(125, asked.error().message());
  });
  // All at once, so that servers are asked side by side; the answers come in any order.
  for (size_t i = 0; i < count; ++i) {
    if (auto asked = broker_->Ask(static_cast<uint16_t>(i)); !asked) return asked;
  }
  const auto deadline = Clock::now() + kFirstValues;
  // What is wrong with the rest is said before the program starts, also where there is no secret.
  const bool has_outlets = !launch_.otlp_url.empty() || ApprovalsOf(engine_->sandbox().approvals, launch_);
  BrokerRequest ready;
  ready.kind = BrokerRequest::Kind::kFlush;
  if (has_outlets) {
    if (auto asked = broker_->Send(ready); !asked) return asked;
  }
  std::vector<std::optional<BrokerAnswer>> answers(count);
  for (size_t left = count + (has_outlets ? 1 : 0); left > 0; --left) {
    auto answer = broker_->Await(deadline);
    if (!answer && count == 0) return tl::unexpected(std::move(answer).error());
    if (!answer) return tl::unexpected(std::move(answer).error().In("the values of the secrets"));
    if (answer->kind == BrokerAnswer::Kind::kFlushed) continue;
    if (answer->secret >= answers.size()) return sallyport::Fail(Code::kInvalid, "the broker broke its protocol");
    answers[answer->secret] = *std::move(answer);
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    if (auto status = AddSecret(static_cast<uint16_t>(i), specs[i], answers[i]); !status) {
      return tl::unexpected(std::move(status).error().In(specs[i].declared_at + ": secret " + specs[i].name));
    }
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (auto status = AddClientKey(answers[specs.size() + i]); !status) {
      return tl::unexpected(std::move(status).error().In(keys[i].name));
    }
  }
  for (size_t i = specs.size() + keys.size(); i < count; ++i) {
    if (auto status = AddProxyValue(answers[i]); !status) {
      return tl::unexpected(std::move(status).error().In(engine_->upstream().proxy->declared_at + ": proxy"));
    }
  }
  return WatchBroker();
}

/// Also for room to send, while there is something to be sent.
Status Warden::WatchBroker() {
  const uint32_t events = EPOLLIN | EPOLLRDHUP | (broker_->unsent() > 0 ? EPOLLOUT : 0U);
  broker_watch_ = {};
  auto watch = loop_->Watch(broker_->watch_fd(), events, [this](uint32_t ready) { OnBroker(ready); });
  if (!watch) return tl::unexpected(std::move(watch).error());
  broker_watch_ = *std::move(watch);
  return {};
}

void Warden::SendToBroker(const BrokerRequest& request) {
  const bool waited = broker_->unsent() > 0;
  auto sent = broker_->Send(request);
  if (sent && !waited && broker_->unsent() > 0) sent = WatchBroker();
  if (!sent) Fail(125, sent.error().message());
}

Status Warden::AddSecret(uint16_t number, const SecretSpec& spec, const std::optional<BrokerAnswer>& answer) {
  if (!answer) return sallyport::Fail(Code::kInvalid, "the broker broke its protocol");
  if (answer->kind != BrokerAnswer::Kind::kValue) return sallyport::Fail(Code::kNotFound, answer->bytes.text);
  auto value = secrets::Secret::Create(answer->bytes.text);
  if (!value) return tl::unexpected(std::move(value).error());
  if (auto status = secrets_.Add(spec, *std::move(value)); !status) return status;
  engine_->SetPlaceholder(spec.name, *secrets_.PlaceholderOf(spec.name));
  keeper_->Add(number, spec.name, answer->lifetime,
               IsRenewable(spec.source) ? SecretKeeper::Renewable::kYes : SecretKeeper::Renewable::kNo);
  return {};
}

Status Warden::AddClientKey(const std::optional<BrokerAnswer>& answer) {
  if (!answer) return sallyport::Fail(Code::kInvalid, "the broker broke its protocol");
  if (answer->kind != BrokerAnswer::Kind::kValue) return sallyport::Fail(Code::kNotFound, answer->bytes.text);
  auto key = secrets::Secret::Create(answer->bytes.text, secrets::Secret::Form::kFile);
  if (!key) return tl::unexpected(std::move(key).error());
  client_keys_.push_back(*std::move(key));
  return {};
}

Status Warden::AddProxyValue(std::optional<BrokerAnswer>& answer) {
  if (!answer) return sallyport::Fail(Code::kInvalid, "the broker broke its protocol");
  const bool there = answer->kind == BrokerAnswer::Kind::kValue;
  // What the environment does not say is not said; a source that the policy names must be there.
  if (!there && engine_->upstream().proxy->from != ProxySpec::From::kEnvironment) {
    return sallyport::Fail(Code::kNotFound, answer->bytes.text);
  }
  proxy_values_.push_back(there ? std::move(answer->bytes) : Wiped());
  return {};
}

Status Warden::MakeParentProxy(const std::vector<Wiped>& values) {
  if (!engine_->upstream().proxy) return {};
  std::vector<std::string_view> texts;
  for (const auto& value : values) texts.emplace_back(value.text);
  auto made = ParentProxy::Make(*engine_->upstream().proxy, texts);
  if (!made) {
    return tl::unexpected(std::move(made).error().In(engine_->upstream().proxy->declared_at + ": proxy"));
  }
  parent_proxy_ = *std::move(made);
  return {};
}

void Warden::OnBroker(uint32_t ready) {
  Status done;
  if ((ready & EPOLLOUT) != 0) {
    done = broker_->SendRest();
    if (done && broker_->unsent() == 0) done = WatchBroker();
  }
  if (done && (ready & ~uint32_t{EPOLLOUT}) != 0) {
    done = broker_->TakeAnswers([this](BrokerAnswer answer) { OnBrokerAnswer(std::move(answer)); });
  }
  if (done) return;
  broker_watch_ = {};
  Fail(125, done.error().message());
}

void Warden::OnBrokerAnswer(BrokerAnswer answer) {
  if (answer.kind == BrokerAnswer::Kind::kFlushed) return;
  if (answer.kind != BrokerAnswer::Kind::kApproval) return keeper_->OnAnswer(std::move(answer));
  if (channels_) channels_->OnAnswer(answer);
}

/// What the broker does beside secrets: questions, and telemetry.
void Warden::MakeOutlets() {
  if (const auto asked = ApprovalsOf(engine_->sandbox().approvals, launch_)) {
    const auto send = [this](BrokerRequest::Kind kind, uint64_t id, std::string document) {
      SendToBroker({.kind = kind, .id = id, .bytes = std::move(document)});
    };
    channels_ = std::make_unique<ApprovalChannels>(
        *loop_, *approvals_, *audit_,
        ApprovalChannels::Broker{
            .ask = [send](uint64_t id, std::string document) {
              send(BrokerRequest::Kind::kAsk, id, std::move(document));
            },
            .forget = [send](uint64_t id) { send(BrokerRequest::Kind::kForget, id, {}); }},
        ApprovalChannels::Options{.sandbox = launch_.sandbox,
                                  .channels = ChannelsOf(*asked),
                                  .timeout = asked->timeout});
  }
  if (launch_.otlp_url.empty()) return;
  feed_ = std::make_unique<TelemetryFeed>(
      *loop_, TelemetryFeed::Broker{.send = [this](const BrokerRequest& request) { SendToBroker(request); },
                                    .unsent = [this] { return broker_->unsent(); }});
}

/// What is left of telemetry goes out, as far as it does in time.
void Warden::FlushTelemetry() {
  if (!feed_ || !broker_watch_) return;
  feed_->PassOn();
  BrokerRequest flush;
  flush.kind = BrokerRequest::Kind::kFlush;
  flush.id = static_cast<uint64_t>(std::chrono::milliseconds(kTelemetryFlush).count());
  const auto deadline = Clock::now() + kTelemetryFlush + kTelemetryGrace;
  if (!broker_->SendAll(flush, deadline)) return;
  for (;;) {
    const auto answer = broker_->Await(deadline);
    if (!answer || answer->kind == BrokerAnswer::Kind::kFlushed) return;
  }
}

Status Warden::MakeGate() {
  audit_ = std::make_unique<AuditLog>(std::move(descriptors_.audit),
                                      AuditLog::Options{.sandbox = launch_.sandbox,
                                                        .loop = loop_.get(),
                                                        .tap = [this](std::string_view line) {
                                                          if (feed_) feed_->Take(line);
                                                        }});
  engine_->SetLog([this](const policy::LogLine& line) {
    const bool warns = line.level == policy::LogLine::Level::kWarn;
    audit_->WriteMessage({.level = warns ? "warn" : "info",
                          .text = line.message,
                          .place = line.place,
                          .flow = line.flow});
  });
  FlushAuditLater();
  auto client_keys = std::exchange(client_keys_, {});  // Not kept any longer than this.
  const auto proxy_values = std::exchange(proxy_values_, {});
  approvals_.emplace(*loop_);
  waits_.emplace(*loop_, *approvals_);
  MakeOutlets();
  if (launch_.learn) RecordLearning();  // To a collector, too.
  if (!launch_.network) return {};

  if (auto made = MakeParentProxy(proxy_values); !made) return made;
  dialer_ = std::make_unique<GuardedDialer>(*loop_, *resolver_, parent_proxy_.get());

  mitm::Interceptor::Options options;
  options.system_roots = [this] { return ReadSystemRoots(std::exchange(system_roots_, {})); };
  for (auto& [name, pem] : launch_.extra_roots) {
    options.extra_roots.push_back({std::move(name), std::move(pem)});
  }
  auto declared = Servers(engine_->upstream(), launch_.server_files);
  if (!declared) return tl::unexpected(std::move(declared).error());
  auto servers = ServerList::Make(*declared, std::move(client_keys));
  if (!servers) return tl::unexpected(std::move(servers).error());
  options.servers = std::move(servers->list);
  budgets_.emplace(engine_->sandbox().budget);
  auto interceptor = mitm::Interceptor::Create(
      {.loop = *loop_,
       .dialer = *dialer_,
       .engine = *engine_,
       .secrets = secrets_,
       .audit = *audit_,
       .terminate = [this](std::string why) { Fail(125, std::move(why)); },
       .waits = *waits_,
       .renew = keeper_ ? [this](const std::vector<std::string>& names,
                                 std::function<void(bool)> done) { return keeper_->Renew(names, std::move(done)); }
                        : mitm::RenewSecrets(),
       .lifetime = [this](std::string_view name) {
         return keeper_ ? keeper_->Remaining(name) : std::nullopt;
       },
       .budgets = &*budgets_},
      options);
  if (!interceptor) return tl::unexpected(std::move(interceptor).error());
  interceptor_ = *std::move(interceptor);
  waits_->SetFetcher([this](const policy::FetchWait& wanted, const policy::Facts& cause,
                            std::function<void(policy::Fetched)> done) {
    return interceptor_->Fetch(wanted, cause, std::move(done));
  });

  gate_ = std::make_unique<Gate>(Gate::Services{.loop = *loop_,
                                                .engine = *engine_,
                                                .resolver = *resolver_,
                                                .dialer = *dialer_,
                                                .interceptor = *interceptor_,
                                                .audit = *audit_,
                                                .waits = *waits_,
                                                .parent = parent_proxy_.get(),
                                                .budgets = &*budgets_});
  return {};
}

void Warden::OpenCapture() {
  if (!descriptors_.capture.valid()) return;
  capture_ = std::make_unique<netstack::Capture>(
      *loop_, std::move(descriptors_.capture),
      [this](const std::string& why) { OnCaptureEnd(why); },
      netstack::Capture::Options{
          .application = std::string("Sallyport ") + versions::kSallyport,
          .description = "the gate's end of the wire to sandbox " + launch_.sandbox});
  gate_->AnnotateIn(capture_.get());
}

/// A disk that is full is no reason to end the sandbox; its owner is told, and the audit log.
void Warden::OnCaptureEnd(const std::string& why) {
  AuditRecord record;
  record.transport = "control";
  record.method = "capture";
  record.allowed = true;
  record.detail = "the capture (--pcap) has ended: " + why;
  audit_->Write(record);
  const std::string line = "sandboxctl: " + record.detail + "\n";
  // A pipe that is ready takes as much as this at once: nobody who reads slowly holds up the gate.
  pollfd owner{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&owner, 1, 0) != 1 || (owner.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const ssize_t told = write(STDERR_FILENO, line.data(), line.size());
}

Status Warden::OpenLink() {
  if (!launch_.network) return {};
  OpenCapture();
  auto stack = OpenStack(*loop_, workload_, *gate_, capture_.get());
  if (!stack) return tl::unexpected(std::move(stack).error());
  stack_ = *std::move(stack);
  gate_->CutWith([this](uint64_t flow) {
    if (stack_) stack_->CutFlow(flow);
  });
  return {};
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

Status Warden::ServeCommands() {
  secret_commands_.emplace(secrets_, *engine_, *audit_);
  approval_commands_.emplace(*loop_, *approvals_, *audit_);
  reload_.emplace(PolicyReload::Services{
      .engine = *engine_,
      .secrets = secrets_,
      .launch = launch_,
      .forget = [this](const std::string& name) { if (keeper_) keeper_->Forget(name); },
      .in_force = [this](const std::function<void()>& replace) { return PutInForce(replace); }});
  port_commands_.emplace(*ports_, *audit_);
  look_commands_.emplace(LookCommands::Services{.loop = *loop_,
                                                .engine = *engine_,
                                                .audit = *audit_,
                                                .approvals = *approvals_,
                                                .ports = *ports_,
                                                .stack = stack_.get(),
                                                .gate = gate_.get(),
                                                .interceptor = interceptor_.get()});
  auto server = ControlServer::Create(*loop_, std::move(descriptors_.commands), launch_.owner,
                                      [this](const ControlRequest& request, UniqueFd attached) {
                                        return OnCommand(request, std::move(attached));
                                      });
  if (!server) return tl::unexpected(std::move(server).error());
  control_server_ = *std::move(server);
  return {};
}

size_t Warden::PutInForce(const std::function<void()>& replace) {
  const auto before = gate_ ? gate_->OpenTerms() : Gate::Terms();
  audit_->SetGeneration(engine_->generation() + 1);  // Before the new file's own lines.
  replace();
  AuditRecord record;
  record.transport = "control";
  record.method = "policy reload";
  record.allowed = true;
  record.detail = launch_.policy_name + " is in force";
  audit_->Write(record);
  if (!gate_ || !stack_) return 0;
  size_t cut = 0;
  for (const uint64_t flow : gate_->Changed(before)) cut += stack_->CutFlow(flow) ? 1 : 0;
  return cut;
}

/// The owner has found that the log's file was renamed, and gives the new one.
ControlReply Warden::ContinueAudit(UniqueFd file) {
  struct stat info {};
  const int flags = file.valid() ? fcntl(file.get(), F_GETFL) : -1;
  if (flags < 0 || (flags & O_APPEND) == 0 || (flags & O_ACCMODE) != O_WRONLY ||
      fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return {.done = false, .text = "an audit log is a file that is open for appending", .rows = {}};
  }
  audit_->Continue(std::move(file));
  return {.done = true, .text = "", .rows = {}};
}

ControlReply Warden::OnCommand(const ControlRequest& request, UniqueFd attached) {
  if (request.verb == "info") {
    return {.done = true,
            .text = "",
            .rows = {{launch_.sandbox, launch_.policy_name, backend_name_,
                      std::string(ToString(workload_.link_kind))}}};
  }
  if (ApprovalCommands::Knows(request.verb)) return approval_commands_->Run(request);
  if (PortCommands::Knows(request.verb)) return port_commands_->Run(request, std::move(attached));
  if (LookCommands::Knows(request.verb)) return look_commands_->Run(request);
  if (request.verb == "audit file") return ContinueAudit(std::move(attached));
  if (request.verb == "policy file") {
    ControlReply reply{
        .done = true, .text = launch_.policy_folder + "/" + launch_.policy_name, .rows = {}};
    for (const auto& mount : launch_.mounts) {
      reply.rows.push_back({mount.source, mount.writable ? "rw" : "ro"});
    }
    return reply;
  }
  if (request.verb == "policy reload") return reload_->Run(attached);
  ControlReply reply = secret_commands_->Run(request, std::move(attached));
  const bool by_hand = request.verb == "secret revoke" || request.verb == "secret rotate";
  if (reply.done && by_hand && keeper_) keeper_->Forget(request.arguments.front());
  return reply;
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

/// Who reads the log must not take an open sandbox for a guarded one.
void Warden::RecordLearning() {
  AuditRecord record;
  record.transport = "control";
  record.method = "learn";
  record.allowed = true;
  record.detail = "what no rule covers is allowed and marked as learnt";
  audit_->Write(record);
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

void Warden::FlushAuditLater() {
  audit_timer_ = loop_->After(kAuditFlush, [this] {
    audit_->Flush(loop_->now());
    FlushAuditLater();
  });
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
  if (audit_) audit_->Flush(Clock::time_point::max());
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
