// Making the gate and what it writes to: the audit log, the capture of frames, and the link behind
// which the guest is.

#include <poll.h>
#include <unistd.h>

#include <utility>

#include "runtime/broker/server_list.h"
#include "runtime/dial/system_roots.h"
#include "runtime/warden/declared_servers.h"
#include "runtime/warden/links.h"
#include "runtime/warden/warden.h"
#include "sallyport_versions.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;

namespace {

constexpr auto kAuditFlush = 1s;      // How late a coalesced line may be.

}  // namespace

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

/// Who reads the log must not take an open sandbox for a guarded one.
void Warden::RecordLearning() {
  AuditRecord record;
  record.transport = "control";
  record.method = "learn";
  record.allowed = true;
  record.detail = "what no rule covers is allowed and marked as learnt";
  audit_->Write(record);
}

void Warden::FlushAuditLater() {
  audit_timer_ = loop_->After(kAuditFlush, [this] {
    FlushAudit(loop_->now());
    FlushAuditLater();
  });
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
  Warn(record.detail);
}

/// A line to the owner, unless nobody takes it at once. A pipe that is ready takes as much as this:
/// nobody who reads slowly holds up the gate.
void Warden::Warn(const std::string& what) {
  const std::string line = "sandboxctl: " + what + "\n";
  pollfd owner{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&owner, 1, 0) != 1 || (owner.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const ssize_t told = write(STDERR_FILENO, line.data(), line.size());
}

/// Writes the counts that are due at NOW. The log itself can't say that it fails: its owner is told.
void Warden::FlushAudit(Clock::time_point now) {
  audit_->Flush(now);
  if (audit_->healthy() || std::exchange(audit_failed_, true)) return;
  Warn("the audit log can't be written, so nothing is allowed any more: " + audit_->failure());
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

}  // namespace sallyport::runtime
