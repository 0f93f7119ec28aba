#pragma once

#include <string>

#include "base/dialer.h"
#include "base/reason.h"
#include "policy/engine.h"

// What the gate answers, whichever way a flow was asked for: by its first packet or through the
// proxy.

namespace sallyport::runtime {

Refusal Refuse(Reason reason, std::string detail, std::string how_to_allow = {});

/// What a flow with FACTS to a name is told that VERDICT does not grant.
Refusal NameRefused(const policy::Facts& facts, const policy::NameVerdict& verdict);
Refusal AuditUnavailable();

/// Why a dial that failed with CODE did.
Reason ReasonOf(Code code);

/// Where a flow with FACTS goes that was granted raw by VERDICT.
Destination DialTarget(const policy::Facts& facts, const policy::FlowVerdict& verdict);

}  // namespace sallyport::runtime
