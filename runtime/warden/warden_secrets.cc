// What the broker is asked for and answers: the values of secrets, which it alone can get, and what
// leaves through it, questions to people and telemetry. Values come after ConfineSelf only.

#include <sys/epoll.h>

#include <utility>

#include "runtime/broker/server_list.h"
#include "runtime/warden/broker_outlets.h"
#include "runtime/warden/declared_servers.h"
#include "runtime/warden/warden.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;

namespace {

constexpr auto kFirstValues = 90s;    // A command and a server, each with its own deadline below it.
constexpr auto kTelemetryFlush = 2s;  // How long the end of a sandbox may wait for its collector,
constexpr auto kTelemetryGrace = 500ms;  // and for the broker to say so.

}  // namespace

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

}  // namespace sallyport::runtime
