// The broker's life, as steps:
//
//     TieToWarden -> ReadLaunch -> Open (sources, errands, roots, resolver) -> Confine -> Serve
//
// It opens its sources first and confines itself before it asks a server for anything. A broker
// whose sources need no server has no network at all.

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>

#include "mitm/server_settings.h"
#include "mitm/upstream_trust.h"
#include "runtime/broker/approver.h"
#include "runtime/broker/broker.h"
#include "runtime/broker/server.h"
#include "runtime/broker/server_list.h"
#include "runtime/broker/telemetry.h"
#include "runtime/broker/value_source.h"
#include "runtime/broker/webhook.h"
#include "runtime/confine/confine.h"
#include "runtime/dial/ares_resolver.h"
#include "runtime/dial/guarded_dialer.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/system_roots.h"
#include "sallyport_versions.h"

namespace {

using namespace sallyport;
using namespace sallyport::runtime;

constexpr off_t kMaxLaunch = 64 * 1024 * 1024;
constexpr unsigned kMaxFiles = 256;  // Sources, and a few connections.

/// Dies with the warden. False when it has died already: then its end of the socket is closed.
bool TieToWarden() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd socket{.fd = kBrokerSocketFd, .events = 0, .revents = 0};
  return poll(&socket, 1, 0) == 0;
}

Result<BrokerLaunch> ReadLaunch() {
  const UniqueFd file(kBrokerLaunchFd);
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return tl::unexpected(Error::FromErrno("launch message"));
  if (info.st_size > kMaxLaunch) return Fail(Code::kLimit, "the launch message is too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  if (pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tl::unexpected(Error::FromErrno("launch message"));
  }
  return BrokerLaunch::Decode(bytes);
}

/// Everything that the sources work with. What others refer to stands before them.
struct Workshop {
  std::unique_ptr<Loop> loop;
  std::vector<SecretSource> declared;
  Sources local;
  std::unique_ptr<Errands> errands;
  std::unique_ptr<Approver> approver;
  UniqueFd roots;  // The bundle's file, read when it is first needed.
  std::unique_ptr<Resolver> resolver;
  std::unique_ptr<ParentProxy> parent;
  std::unique_ptr<GuardedDialer> dialer;
  std::unique_ptr<mitm::UpstreamTls> tls;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<Webhook> webhook;
  std::unique_ptr<Telemetry> telemetry;
};

bool AnyNeedsNetwork(const BrokerLaunch& launch) {
  if ((launch.approvals && launch.approvals->webhook) || launch.telemetry) return true;
  return std::any_of(launch.secrets.begin(), launch.secrets.end(),
                     [](const auto& item) { return NeedsNetwork(item.source); });
}

/// All that values are read from: those that the warden asks for, and those that stay here.
std::vector<SecretSource> DeclaredSources(const BrokerLaunch& launch) {
  std::vector<SecretSource> sources;
  for (const auto& item : launch.secrets) sources.push_back(item.source);
  const auto add = [&sources](const std::optional<PlainSource>& plain) {
    if (!plain) return;
    std::visit([&sources](const auto& source) { sources.emplace_back(source); }, *plain);
  };
  if (launch.approvals && launch.approvals->webhook) add(launch.approvals->webhook->key);
  if (launch.telemetry) add(launch.telemetry->headers);
  return sources;
}

Result<Wiped> ReadQuick(const Sources& local, const PlainSource& source) {
  const auto* env = std::get_if<EnvSource>(&source);
  return env != nullptr ? local.Read(*env) : local.Read(std::get<FileSource>(source));
}

/// What was asked for beside secrets works, or the start ends.
Status MakeOutlets(const BrokerLaunch& launch, Workshop& shop) {
  if (launch.approvals && launch.approvals->webhook) {
    const auto& spec = *launch.approvals->webhook;
    if (spec.key) {
      if (auto key = ReadQuick(shop.local, *spec.key); !key) {
        return tl::unexpected(std::move(key).error().In("the key of sandbox { approvals }"));
      }
    }
    shop.webhook = std::make_unique<Webhook>(*shop.loop, *shop.http, shop.local, spec,
                                             launch.approvals->timeout);
  }
  if (!launch.telemetry) return {};
  Wiped text;
  if (launch.telemetry->headers) {
    auto read = ReadQuick(shop.local, *launch.telemetry->headers);
    if (!read) return tl::unexpected(std::move(read).error().In("--otlp-headers"));
    text = *std::move(read);
  }
  auto headers = ParseOtlpHeaders(text.text);
  if (!headers) return tl::unexpected(std::move(headers).error().In("--otlp-headers"));
  shop.telemetry =
      std::make_unique<Telemetry>(*shop.loop, *shop.http, *launch.telemetry, *std::move(headers));
  return {};
}

std::vector<ApprovalDesk::Channel> ChannelsOf(Workshop& shop) {
  std::vector<ApprovalDesk::Channel> channels;
  if (shop.webhook) {
    channels.push_back({"the webhook", [&shop](std::string_view document, auto done) {
                          return shop.webhook->Ask(document, std::move(done));
                        }});
  }
  if (shop.approver) {
    channels.push_back({"the command", [&shop](std::string_view document, auto done) {
                          return shop.approver->Ask(document, std::move(done));
                        }});
  }
  return channels;
}

/// The value of SOURCE, a variable or a file; nothing for a variable of the environment that is not
/// set.
Result<Wiped> ReadProxyValue(const ProxySpec& proxy, const SecretSource& source,
                             const Sources& local) {
  const auto* env = std::get_if<EnvSource>(&source);
  auto value = env != nullptr ? local.Read(*env) : local.Read(std::get<FileSource>(source));
  if (!value && proxy.from == ProxySpec::From::kEnvironment) return Wiped();
  return value;
}

Status MakeParentProxy(const BrokerLaunch& launch, Workshop& shop) {
  if (!launch.proxy) return {};
  std::vector<Wiped> values;
  for (const auto& source : launch.proxy->Sources()) {
    auto value = ReadProxyValue(*launch.proxy, source, shop.local);
    if (!value) return tl::unexpected(std::move(value).error().In("the proxy"));
    values.push_back(*std::move(value));
  }
  std::vector<std::string_view> texts;
  for (const auto& value : values) texts.emplace_back(value.text);
  auto parent = ParentProxy::Make(*launch.proxy, texts);
  if (!parent) return tl::unexpected(std::move(parent).error().In("the proxy"));
  shop.parent = *std::move(parent);
  return {};
}

/// The keys of client certificates, in the order of their servers. They are gone with the list.
Result<std::vector<secrets::Secret>> ReadClientKeys(const BrokerLaunch& launch,
                                                    const Sources& local) {
  std::vector<secrets::Secret> keys;
  for (const auto& server : launch.servers) {
    if (!server.client) continue;
    const auto bytes = local.Read(FileSource{server.client->key_file});
    auto key = bytes ? secrets::Secret::Create(bytes->text, secrets::Secret::Form::kFile)
                     : Result<secrets::Secret>(tl::unexpected(bytes.error()));
    if (!key) {
      return tl::unexpected(std::move(key).error().In(server.declared_at + ": client_cert"));
    }
    keys.push_back(*std::move(key));
  }
  return keys;
}

/// TLS with what every server is held against, and those of some hosts besides.
Status MakeTls(const BrokerLaunch& launch, Workshop& shop) {
  std::vector<mitm::RootBundle> extra;
  for (const auto& [name, pem] : launch.extra_roots) extra.push_back({name, pem});
  auto trusted = mitm::LoadTrustedRoots(extra);
  if (!trusted) return tl::unexpected(std::move(trusted).error());
  auto keys = ReadClientKeys(launch, shop.local);
  if (!keys) return tl::unexpected(std::move(keys).error());
  const auto servers = ServerList::Make(launch.servers, *std::move(keys));
  if (!servers) return tl::unexpected(servers.error());
  auto table = mitm::ServerTable::Create(servers->list, trusted->get());
  if (!table) return tl::unexpected(std::move(table).error());
  auto tls = mitm::UpstreamTls::Create(
      *std::move(trusted), [&shop] { return ReadSystemRoots(std::move(shop.roots)); },
      *std::move(table));
  if (!tls) return tl::unexpected(std::move(tls).error());
  shop.tls = *std::move(tls);
  return {};
}

Status OpenNetwork(const BrokerLaunch& launch, Workshop& shop) {
  tzset();  // Reads its file at its first use, which is now: certificates are held against the
            // time.
  std::vector<Endpoint> servers;
  for (const auto& text : launch.resolvers) {
    if (const auto endpoint = Endpoint::Parse(text, 53)) servers.push_back(*endpoint);
  }
  auto resolver = NewAresResolver(*shop.loop, servers);
  if (!resolver) return tl::unexpected(std::move(resolver).error());
  shop.resolver = *std::move(resolver);
  if (auto made = MakeParentProxy(launch, shop); !made) return made;
  shop.dialer =
      std::make_unique<GuardedDialer>(*shop.loop, *shop.resolver, shop.parent.get());
  shop.roots = OpenSystemRoots();
  if (auto made = MakeTls(launch, shop); !made) return made;
  shop.http = std::make_unique<HttpClient>(*shop.loop, *shop.dialer, *shop.tls);
  return {};
}

Status Open(const BrokerLaunch& launch, Workshop& shop) {
  shop.declared = DeclaredSources(launch);
  // Gone, and wiped, once each has what it needs of them.
  const auto variables = Variables::Read(UniqueFd(kBrokerValuesFd));
  if (!variables) return tl::unexpected(variables.error());
  auto errands = ErrandsOf(shop.declared);
  if (!errands.commands.empty() || !errands.files.empty()) {
    auto started = Errands::Start(std::move(errands), *variables);
    if (!started) return tl::unexpected(std::move(started).error());
    shop.errands = *std::move(started);
  }
  if (launch.approvals && launch.approvals->command) {
    auto started =
        Approver::Start(*launch.approvals->command, launch.approvals->timeout, *variables);
    if (!started) return tl::unexpected(std::move(started).error());
    shop.approver = *std::move(started);
  }
  shop.local = Sources::Open(shop.declared, *variables);
  auto loop = Loop::Create();
  if (!loop) return tl::unexpected(std::move(loop).error());
  shop.loop = *std::move(loop);
  if (shop.errands) {
    if (auto attached = shop.errands->Attach(*shop.loop); !attached) return attached;
  }
  if (shop.approver) {
    if (auto attached = shop.approver->Attach(*shop.loop); !attached) return attached;
  }
  if (!AnyNeedsNetwork(launch)) return {};
  if (auto opened = OpenNetwork(launch, shop); !opened) return opened;
  return MakeOutlets(launch, shop);
}

Result<int> Serve(UniqueFd socket) {
  auto launch = ReadLaunch();
  if (!launch) return tl::unexpected(std::move(launch).error());
  Workshop shop;
  if (auto opened = Open(*launch, shop); !opened) return tl::unexpected(std::move(opened).error());
  const auto role = shop.http ? ConfineOptions::Role::kOnlineBroker : ConfineOptions::Role::kBroker;
  auto confined = Confine({.role = role, .readable = {}, .max_files = kMaxFiles});
  if (!confined) return tl::unexpected(std::move(confined).error().In("confining the broker"));
  const SourceTools tools{.loop = *shop.loop,
                          .local = shop.local,
                          .errands = shop.errands.get(),
                          .http = shop.http.get()};
  Server::Parts parts{.sources = {}, .channels = ChannelsOf(shop), .telemetry = shop.telemetry.get()};
  for (const auto& item : launch->secrets)
    parts.sources.push_back(MakeValueSource(item.name, item.source, tools));
  auto server = Server::Create(*shop.loop, std::move(socket), std::move(parts));
  if (!server) return tl::unexpected(std::move(server).error());
  while (!(*server)->exit_status()) {
    if (auto turned = shop.loop->RunOnce(); !turned)
      return tl::unexpected(std::move(turned).error());
  }
  return *(*server)->exit_status();
}

void TellWarden(const Error& error) {
  BrokerAnswer answer;
  answer.kind = BrokerAnswer::Kind::kFatal;
  answer.bytes.text = error.message().substr(0, BrokerAnswer::kMaxBytes);
  SendAnswer(kBrokerSocketFd, answer);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("sandbox-broker %s\n", versions::kSallyport);
    return 0;
  }
  if (fcntl(kBrokerSocketFd, F_GETFD) < 0 || fcntl(kBrokerLaunchFd, F_GETFD) < 0) {
    std::fprintf(stderr, "sandbox-broker is started by sandbox-warden\n");
    return 125;
  }
  if (!TieToWarden()) return 125;
  std::signal(SIGPIPE, SIG_IGN);
  for (int fd = kBrokerSocketFd; fd <= kBrokerValuesFd; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  // Kept for TellWarden(): Serve()'s copy goes with its server.
  UniqueFd socket(fcntl(kBrokerSocketFd, F_DUPFD_CLOEXEC, kBrokerValuesFd + 1));
  const auto status = Serve(std::move(socket));
  if (!status) TellWarden(status.error());
  _exit(status ? *status : 1);
}
