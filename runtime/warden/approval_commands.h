#pragma once

#include "base/audit.h"
#include "runtime/warden/approvals.h"
#include "runtime/warden/control_message.h"

namespace sallyport::runtime {

/// What `sandboxctl approvals`, `approve` and `deny` do to a running sandbox:
///
///     approvals                        the open questions, a row each (runtime/api/approvals.h)
///     approve ID once|session|deny|deny-session
///                                      answers one; the reply's row is the question
///
/// Each answer is one audit record.
class ApprovalCommands {
 public:
  /// All outlive it.
  ApprovalCommands(Loop& loop, Approvals& approvals, AuditSink& audit)
      : loop_(loop), approvals_(approvals), audit_(audit) {}

  /// Whether VERB is one of these.
  static bool Knows(std::string_view verb) { return verb == "approvals" || verb == "approve"; }
  ControlReply Run(const ControlRequest& request);

 private:
  ControlReply List();
  ControlReply Answer(const std::string& id, const std::string& answer);

  Loop& loop_;
  Approvals& approvals_;
  AuditSink& audit_;
};

/// What the audit log says of an answer to SUBJECT, METHOD ("approve once").
AuditRecord RecordOf(const Approvals::Subject& subject, std::string method);

}  // namespace sallyport::runtime
