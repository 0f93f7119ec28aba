#include "mitm/distrust_log.h"

#include <algorithm>
#include <utility>

#include "mitm/flow_context.h"
#include "mitm/limits.h"

namespace sallyport::mitm {
namespace {

constexpr char kFix[] =
    ". It has a trust store of its own, or pins certificates: docs/trust.md says how programs are "
    "made to trust the sandbox's CA; for one that pins, grant the host with tls = \"passthrough\"";

}  // namespace

DistrustLog::~DistrustLog() {
  for (auto& [key, entry] : entries_) {
    if (entry.untold > 0) Tell(entry);
  }
}

void DistrustLog::Note(FlowContext& flow, const std::string& host, std::string_view alert) {
  const std::string key = host + ":" + std::to_string(flow.facts().destination.port);
  if (!entries_.contains(key) && entries_.size() >= kMaxDistrusted) {
    Entry& oldest = entries_.begin()->second;  // The first by name: as good as any.
    if (oldest.untold > 0) Tell(oldest);
    entries_.erase(entries_.begin());
  }
  Entry& entry = entries_[key];
  ++entry.total;
  ++entry.untold;
  entry.latest = flow.Record();
  entry.text = flow.gate().secrets.Redact("the client does not accept the gate's certificate for " +
                                          host + ": " + std::string(alert));
  if (entry.total == 1 || entry.untold == kDistrustEvery) Tell(entry);
}

void DistrustLog::Tell(Entry& entry) {
  AuditRecord record = std::move(entry.latest);
  record.reason = Reason::kClientTls;
  record.allowed = false;
  record.detail = entry.text;
  if (entry.total > 1) {
    record.detail += " (" + std::to_string(entry.untold) + " times since this was last told, " +
                     std::to_string(entry.total) + " in all)";
  }
  record.detail += kFix;
  record.detail.resize(std::min(record.detail.size(), kMaxAuditDetail));
  audit_.Write(record);
  entry.untold = 0;
}

}  // namespace sallyport::mitm
