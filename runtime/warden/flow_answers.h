#pragma once

#include <optional>
#include <string>
#include <vector>

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

/// The address of a flow with FACTS is one that NAMES have, and its bytes don't tell which is meant.
Refusal SharedByNames(const policy::Facts& facts, const std::vector<HostName>& names);

/// NAME, asked for by a query of TYPE, led over CHAIN: why the callback that granted it does not do so
/// with the aliases that it has. VERDICT becomes what it says then.
std::optional<Refusal> JudgeChain(policy::Engine& engine, const HostName& name, uint16_t type,
                                  const std::vector<HostName>& chain, policy::NameVerdict& verdict);

/// Why a dial that failed with CODE did.
Reason ReasonOf(Code code);

/// Where a flow with FACTS goes that was granted raw by VERDICT.
Destination DialTarget(const policy::Facts& facts, const policy::FlowVerdict& verdict);

}  // namespace sallyport::runtime
