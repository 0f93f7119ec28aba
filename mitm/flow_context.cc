#include "mitm/flow_context.h"

#include <utility>

#include "base/cut_text.h"
#include "mitm/limits.h"

namespace sallyport::mitm {

Host FlowContext::Identity() const {
  if (facts().name) return *facts().name;
  return facts().destination.address;
}

std::optional<std::string> FlowContext::CheckAuthority(std::string_view authority) {
  if (!accepted_.empty() && authority == accepted_) return std::nullopt;
  const auto parsed = ParseAuthority(authority);
  if (!parsed) return "the request's authority is not a host";
  const Host identity = Identity();
  const uint16_t port = parsed->port.value_or(default_port());
  if (parsed->host != identity || port != facts().destination.port) {
    return "the request is for " + ToString(parsed->host) + ":" + std::to_string(port) +
           ", but this connection belongs to " + ToString(identity) + ":" +
           std::to_string(facts().destination.port);
  }
  accepted_ = authority;
  return std::nullopt;
}

const std::string& FlowContext::authority() {
  if (authority_.empty()) {
    authority_ = ToString(Identity());
    if (facts().destination.port != default_port()) {
      authority_ += ":" + std::to_string(facts().destination.port);
    }
  }
  return authority_;
}

UpstreamTarget FlowContext::TargetFor(const std::optional<Authority>& to) const {
  const Host identity = Identity();
  if (to) {
    return {.destination = {.host = to->host,
                            .port = to->port.value_or(facts().destination.port),
                            .filter = {},
                            .chosen_by_user = true},
            .tls = tls.encrypted,
            .identity = identity,
            .verification = gate_.pool.VerificationOf(identity)};
  }
  return {.destination = {.host = identity,
                          .port = facts().destination.port,
                          .filter = flow_.verdict.filter(),
                          .chosen_by_user = false},
          .tls = tls.encrypted,
          .identity = identity,
          .verification = gate_.pool.VerificationOf(identity)};
}

const UpstreamTarget& FlowContext::target() {
  if (!target_) target_ = TargetFor(flow_.verdict.to());
  return *target_;
}

const std::string& FlowContext::target_key() {
  if (target_key_.empty()) target_key_ = target().Key();
  return target_key_;
}

AuditRecord FlowContext::Record() const {
  AuditRecord record;
  record.flow = facts().flow;
  record.generation = gate_.engine.generation();
  record.transport = tls.encrypted ? "https" : "http";
  record.by_policy = flow_.by_policy;
  if (facts().name) {
    record.name = facts().name->text();
  } else {
    record.address = facts().destination.address;
  }
  record.port = facts().destination.port;
  return record;
}

void FlowContext::Write(AuditRecord record, Reason reason, std::string_view detail) {
  record.reason = reason;
  record.allowed = reason == Reason::kAllowed || reason == Reason::kAnsweredByGate;
  record.detail = CutText(gate_.secrets.Redact(detail), kMaxAuditDetail);
  record.how_to_allow = CutText(gate_.secrets.Redact(record.how_to_allow), kMaxAuditDetail);
  gate_.audit.Write(record);
}

}  // namespace sallyport::mitm
