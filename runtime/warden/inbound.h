#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/audit.h"
#include "base/ip_address.h"
#include "base/loop.h"
#include "base/result.h"
#include "guest/protocol/frame.h"
#include "runtime/warden/frame_channel.h"
#include "runtime/warden/published_port.h"

namespace sallyport::runtime {

/// What one client of the host's does with a published port: a connection, or datagrams of one
/// address. It is a stream of the agent's, which connects to the server (guest/protocol/frame.h),
/// and one audit record at its end.
class Inbound {
 public:
  struct Services {
    Loop& loop;
    FrameChannel& agent;
    AuditSink& audit;
  };
  struct Facts {
    uint32_t stream = 0;  ///< Also its number in the audit log.
    PublishedPort port;
    Endpoint client;
  };
  enum class State { kDialling, kOpen };

  virtual ~Inbound() = default;
  Inbound(const Inbound&) = delete;
  Inbound& operator=(const Inbound&) = delete;

  /// A frame of the agent's, hostile. kInvalid for one that breaks the protocol.
  virtual Status OnFrame(const guest::Frame& frame) = 0;
  /// The agent takes more again.
  virtual void OnAgentDrained() {}
  /// Ends it now, with a reset on both sides where there is such a thing; WHY is for the log.
  virtual void Cut(std::string why) = 0;

  const Facts& facts() const { return facts_; }
  bool over() const { return over_; }
  State state() const { return state_; }
  Clock::time_point began() const { return began_; }
  /// Payload from the sandbox, and to it.
  virtual uint64_t bytes_up() const = 0;
  virtual uint64_t bytes_down() const = 0;

 protected:
  Inbound(const Services& services, Facts facts)
      : services_(services), facts_(std::move(facts)), began_(services.loop.now()) {}

  /// Asks the agent to connect.
  void Dial();
  /// Writes the record; once.
  void Tell(Reason reason, std::string detail);
  void SendError();

  const Services services_;
  const Facts facts_;
  const Clock::time_point began_;
  State state_ = State::kDialling;
  bool over_ = false;
};

/// The record of what a CLIENT does with PORT, as far as it is known from the beginning.
AuditRecord InboundRecord(const PublishedPort& port, const Endpoint& client);

}  // namespace sallyport::runtime
