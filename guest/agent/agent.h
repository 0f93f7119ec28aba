#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "guest/agent/dialled.h"
#include "guest/agent/environment.h"
#include "guest/agent/host_connection.h"
#include "guest/agent/program.h"
#include "guest/protocol/frame.h"

namespace sallyport::guest {

/// Serves the host: one connection, in the order hello, trust, and then programs, and connections to
/// servers among them.
///
/// The host is trusted, its frames are checked all the same: what breaks the protocol ends the
/// connection, and with it the sandbox.
class Agent {
 public:
  Agent(Loop& loop, UniqueFd host) : loop_(loop), host_(loop, std::move(host)) {}
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  Status Start();
  bool ended() const { return state_ == State::kEnded; }

  /// Tells the host, if it can be told, that the agent can't go on.
  void Fail(const Error& error);

 private:
  enum class State { kExpectsHello, kExpectsTrust, kServes, kEnded };

  void OnFrame(const Frame& frame);
  Status Handle(const Frame& frame);
  Status OnConnectionFrame(const Frame& frame);
  Status OnHello(const Frame& frame);
  Status OnTrust(const Frame& frame);
  Status OnExec(const Frame& frame);
  /// Makes HOME trust the gate if there are programs that read it; false if there are none.
  bool PrepareHome(const std::string& home);
  void StartProgram(Program& program, Exec exec);
  Status OnDial(const Frame& frame);
  Status OnStreamFrame(const Frame& frame);
  bool InUse(uint32_t stream) const;
  void Refuse(uint32_t stream, const std::string& why);
  void OnChildren();
  void ReapSome();
  void OnReaped(pid_t pid, int wait_status);
  void OnRoom();
  void ResumeDialled();
  void RemoveFinished();

  Loop& loop_;
  HostConnection host_;
  State state_ = State::kExpectsHello;
  GateCa ca_ = GateCa::kNone;
  std::string ca_pem_;
  bool trust_completed_ = false;  // Also where the first program does not need it yet.
  UniqueFd signals_;
  Loop::Handle signals_watch_;
  Loop::Handle more_children_;
  Loop::Handle ahead_;
  Loop::Handle turn_end_;
  Loop::Handle room_;
  bool some_finished_ = false;
  std::map<uint32_t, std::unique_ptr<Program>> programs_;  // By stream.
  std::map<uint32_t, std::unique_ptr<Dialled>> dialled_;   // By stream; no stream is in both.
};

}  // namespace sallyport::guest
