#pragma once

#include <string_view>
#include <vector>

#include "base/loop.h"
#include "mitm/interceptor.h"
#include "netstack/stack.h"
#include "policy/engine.h"
#include "runtime/warden/approvals.h"
#include "runtime/warden/audit_log.h"
#include "runtime/warden/control_message.h"
#include "runtime/warden/gate.h"
#include "runtime/warden/published_ports.h"

namespace sallyport::runtime {

/// What `sandboxctl flows` and `stats` look at; nothing is changed:
///
///     flows [AFTER]   those with larger ids than AFTER, in their order, a row each
///     (runtime/api/flows.h).
///                     As many as a packet takes; the text is "more" if there are others behind
///     stats           a row for each number: name, labels as `key="value",…`, value
class LookCommands {
 public:
  /// All outlive it. Without a network there is none of the pointers.
  struct Services {
    Loop& loop;
    const policy::Engine& engine;
    const AuditLog& audit;
    Approvals& approvals;
    const PublishedPorts& ports;
    const netstack::Stack* stack = nullptr;
    const Gate* gate = nullptr;
    const mitm::Interceptor* interceptor = nullptr;
  };
  explicit LookCommands(const Services& services)
      : services_(services), began_(services.loop.now()) {}

  /// Whether VERB is one of these.
  static bool Knows(std::string_view verb) { return verb == "flows" || verb == "stats"; }
  ControlReply Run(const ControlRequest& request) const;

 private:
  struct Flow;
  ControlReply Flows(uint64_t after) const;
  std::vector<Flow> FlowsBehind(uint64_t after) const;
  std::vector<std::string> RowOf(const Flow& flow) const;
  ControlReply Stats() const;

  const Services services_;
  const Clock::time_point began_;
};

}  // namespace sallyport::runtime
