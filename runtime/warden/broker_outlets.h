#pragma once

#include <optional>

#include "base/approval_spec.h"
#include "base/result.h"
#include "base/telemetry_spec.h"
#include "runtime/warden/launch.h"

// What the broker does for a sandbox beside secrets, as the policy and the start say it.

namespace sallyport::runtime {

/// Who is asked: those that the POLICY names, with the command of LAUNCH instead of its own.
/// Nothing when there is nobody.
std::optional<ApprovalSpec> ApprovalsOf(std::optional<ApprovalSpec> policy, const Launch& launch);
/// How many that are.
size_t ChannelsOf(const ApprovalSpec& approvals);

/// Where LAUNCH sends telemetry. kInvalid for what is no URL.
Result<std::optional<TelemetrySpec>> TelemetryOf(const Launch& launch);

}  // namespace sallyport::runtime
