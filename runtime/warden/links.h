#pragma once

#include <memory>

#include "base/loop.h"
#include "base/result.h"
#include "netstack/capture.h"
#include "netstack/flow_decider.h"
#include "netstack/stack.h"
#include "runtime/backend/backend.h"

namespace sallyport::runtime {

/// The stack on WORKLOAD's link. It gets a copy of the link's descriptor: closing the last one waits
/// for the kernel to take the device apart, and nobody shall wait for that while the sandbox ends.
/// Its frames go to CAPTURE, if there is one, which outlives the stack.
Result<std::unique_ptr<netstack::Stack>> OpenStack(Loop& loop, const Workload& workload,
                                                   netstack::FlowDecider& decider,
                                                   netstack::Capture* capture);

}  // namespace sallyport::runtime
