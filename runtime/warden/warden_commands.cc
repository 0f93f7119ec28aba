// What other commands of the owner ask of a running sandbox: each verb goes to the part that knows it.

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "runtime/warden/warden.h"

namespace sallyport::runtime {

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

}  // namespace sallyport::runtime
