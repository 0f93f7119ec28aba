#pragma once

#include "base/audit.h"
#include "policy/engine.h"
#include "runtime/warden/control_message.h"
#include "secrets/store.h"

namespace sallyport::runtime {

/// What `sandboxctl secret` does to a running sandbox:
///
///     secret ls
///     secret add NAME HOST…      with the value attached
///     secret rotate NAME         with the value attached
///     secret revoke NAME
///
/// A value comes in a file of memory, and goes into locked memory without another copy. Each change is
/// one audit record.
class SecretCommands {
 public:
  /// All outlive it.
  SecretCommands(secrets::Store& store, policy::Engine& engine, AuditSink& audit)
      : store_(store), engine_(engine), audit_(audit) {}

  ControlReply Run(const ControlRequest& request, UniqueFd attached);

 private:
  ControlReply List() const;
  Status Add(const std::vector<std::string>& arguments, const UniqueFd& attached);
  Status Rotate(const std::vector<std::string>& arguments, const UniqueFd& attached);
  Status Revoke(const std::vector<std::string>& arguments);
  void Record(const std::string& verb, const std::string& name);

  secrets::Store& store_;
  policy::Engine& engine_;
  AuditSink& audit_;
};

}  // namespace sallyport::runtime
