#pragma once

#include <string_view>

#include "base/audit.h"
#include "base/unique_fd.h"
#include "runtime/warden/control_message.h"
#include "runtime/warden/published_ports.h"

namespace sallyport::runtime {

/// What `sandboxctl port` does to a running sandbox:
///
///     port ls                            the ports, a row each: transport, host, sandbox's, open
///     port add GUEST                     the attached socket leads to it; the reply's row is the
///     port port rm TRANSPORT PORT [ADDRESS]   the reply's rows are those that there were
///
/// What changes the sandbox is an audit record.
class PortCommands {
 public:
  /// Both outlive it.
  PortCommands(PublishedPorts& ports, AuditSink& audit) : ports_(ports), audit_(audit) {}

  /// Whether VERB is one of these.
  static bool Knows(std::string_view verb) { return verb.starts_with("port "); }
  ControlReply Run(const ControlRequest& request, UniqueFd attached);

 private:
  ControlReply List() const;
  ControlReply Add(const std::string& guest, UniqueFd socket);
  ControlReply Remove(const std::vector<std::string>& arguments);
  void Record(const char* verb, const PublishedPort& port);

  PublishedPorts& ports_;
  AuditSink& audit_;
};

}  // namespace sallyport::runtime
