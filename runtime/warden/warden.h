#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/protocol/messages.h"
#include "mitm/interceptor.h"
#include "netstack/capture.h"
#include "netstack/stack.h"
#include "policy/budget_book.h"
#include "policy/live_engine.h"
#include "runtime/backend/backend.h"
#include "runtime/broker/broker.h"
#include "runtime/broker/wiped.h"
#include "runtime/dial/guarded_dialer.h"
#include "runtime/dial/parent_proxy.h"
#include "runtime/dial/split_resolver.h"
#include "runtime/warden/approval_channels.h"
#include "runtime/warden/approval_commands.h"
#include "runtime/warden/approvals.h"
#include "runtime/warden/audit_log.h"
#include "runtime/warden/control_server.h"
#include "runtime/warden/decision_waits.h"
#include "runtime/warden/frame_channel.h"
#include "runtime/warden/gate.h"
#include "runtime/warden/launch.h"
#include "runtime/warden/look_commands.h"
#include "runtime/warden/policy_reload.h"
#include "runtime/warden/port_commands.h"
#include "runtime/warden/published_ports.h"
#include "runtime/warden/secret_commands.h"
#include "runtime/warden/secret_keeper.h"
#include "runtime/warden/telemetry_feed.h"
#include "secrets/store.h"

namespace sallyport::runtime {

/// One sandbox's host process: starts it, is its gate, relays between its owner and its agent, and
/// ends with it. Starting is a list of blocking steps; nothing secret is read and no frame is seen
/// before the broker and the workload were forked and this process confined itself.
class Warden {
 public:
  /// What came with the launch message, and the way it came.
  struct Descriptors {
    UniqueFd control;
    UniqueFd audit;
    UniqueFd values;
    UniqueFd commands;
    std::vector<UniqueFd> ports;
    UniqueFd capture;  ///< May be none.
  };

  /// A workload on its way, which works by itself while the launch message is awaited.
  struct Begun {
    std::string backend;  ///< Its name.
    Result<std::unique_ptr<StartingWorkload>> workload;
  };
  static Begun BeginWorkload();
  /// One that was begun before this program was executed, and is known by WORDS (kBegunFlag).
  static Begun ContinueWorkload(const std::string& words);

  /// Starts the sandbox of LAUNCH in BEGUN. On an error, also one of BEGUN, the owner has been told.
  static Result<std::unique_ptr<Warden>> Start(Begun begun, Launch launch, Descriptors descriptors);
  ~Warden();

  /// Runs the loop until the sandbox has ended and its owner has heard how.
  Status Run();

 private:
  class OwnerChannel;
  class AgentChannel;

  Warden(std::string backend, Launch launch, Descriptors descriptors);

  // The steps of the start, in order.
  Status DescribeWorkload();
  Status LoadPolicy();
  Status StartBroker();
  Status ConfineSelf();
  Status ReadSecrets();
  Status AddSecret(uint16_t number, const SecretSpec& spec, const std::optional<BrokerAnswer>& answer);
  Status AddClientKey(const std::optional<BrokerAnswer>& answer);
  Status AddProxyValue(std::optional<BrokerAnswer>& answer);
  Status MakeParentProxy(const std::vector<Wiped>& values);
  Status MakeGate();
  Status AwaitWorkload();
  void OpenCapture();
  void OnCaptureEnd(const std::string& why);
  static void Warn(const std::string& what);
  Status OpenLink();
  Status ConnectAgent();
  Status PublishPorts();
  Status ConnectOwner();
  Status ServeCommands();

  void OnOwnerFrame(guest::Frame frame);
  void OnAgentFrame(guest::Frame frame);
  void OnTrusted();
  void OnExec(const guest::Frame& frame);
  void RecordLearning();
  Status WatchBroker();
  void SendToBroker(const BrokerRequest& request);
  void OnBroker(uint32_t ready);
  void OnBrokerAnswer(BrokerAnswer answer);
  void MakeOutlets();
  void FlushTelemetry();
  void FlushAuditLater();
  void FlushAudit(Clock::time_point now);
  /// Calls REPLACE, which replaces the policy, and cuts what the new one denies.
  size_t PutInForce(const std::function<void()>& replace);
  ControlReply ContinueAudit(UniqueFd file);
  ControlReply OnCommand(const ControlRequest& request, UniqueFd attached);

  /// The sandbox is over: what flows is closed, the audit log written, then the owner hears LAST.
  void End(guest::FrameType type, uint32_t stream, std::string payload);
  void Fail(int exit_code, std::string why);
  /// Tells the owner of a start that failed, before there is a loop.
  static void TellOwner(int control, const Error& error);

  Launch launch_;
  Descriptors descriptors_;
  UniqueFd system_roots_;  // The bundle's file, read when it is first needed.
  std::unique_ptr<policy::LiveEngine> engine_;
  std::optional<Broker> broker_;
  std::unique_ptr<StartingWorkload> starting_;
  Workload workload_;
  const std::string backend_name_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<TelemetryFeed> feed_;  // Before the log, which tells it each line to the end.
  std::unique_ptr<AuditLog> audit_;
  bool audit_failed_ = false;  // And the owner was told.
  secrets::Store secrets_;
  std::vector<secrets::Secret> client_keys_;  // Of client certificates, on their way to the gate.
  std::vector<Wiped> proxy_values_;  // Of the parent proxy's sources, on their way to it.
  std::unique_ptr<ParentProxy> parent_proxy_;
  std::unique_ptr<SecretKeeper> keeper_;
  std::unique_ptr<Resolver> usual_resolver_;
  std::unique_ptr<SplitResolver> resolver_;
  std::unique_ptr<GuardedDialer> dialer_;
  std::optional<Approvals> approvals_;
  std::unique_ptr<ApprovalChannels> channels_;
  std::optional<DecisionWaits> waits_;
  std::optional<policy::BudgetBook> budgets_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<mitm::Interceptor> interceptor_;
  std::unique_ptr<netstack::Capture> capture_;  // Null for none.
  std::unique_ptr<netstack::Stack> stack_;
  std::unique_ptr<AgentChannel> agent_;
  std::unique_ptr<PublishedPorts> ports_;
  std::unique_ptr<OwnerChannel> owner_;
  std::optional<SecretCommands> secret_commands_;
  std::optional<ApprovalCommands> approval_commands_;
  std::optional<PolicyReload> reload_;
  std::optional<PortCommands> port_commands_;
  std::optional<LookCommands> look_commands_;
  std::unique_ptr<ControlServer> control_server_;
  Loop::Handle timeout_;
  Loop::Handle audit_timer_;
  Loop::Handle broker_watch_;
  Loop::Handle failing_;
  uint32_t stream_ = 0;  // The owner's program; 0 while it has sent none.
  bool launched_ = false;
  bool ended_ = false;
};

}  // namespace sallyport::runtime
