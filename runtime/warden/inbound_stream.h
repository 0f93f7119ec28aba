#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "guest/relay/socket_relay.h"
#include "runtime/warden/inbound.h"

namespace sallyport::runtime {

/// A connection that a client of the host's made to a published port. The steps:
///
///     Start -> (dialling) -> OnStarted -> (relaying) -> End
///
/// Nothing is read from the client before a server in the sandbox has taken the connection. If none
/// does, the client sees a reset.
class InboundStream final : public Inbound, guest::SocketRelay::Frames {
 public:
  /// SOCKET is the accepted connection. ON_OVER is called once, from within; destroy it later.
  InboundStream(const Services& services, Facts facts, UniqueFd socket,
                std::function<void()> on_over);
  /// One that is not over ends with its sandbox.
  ~InboundStream() override;

  void Start();

  Status OnFrame(const guest::Frame& frame) override;
  void OnAgentDrained() override;
  void Cut(std::string why) override;
  uint64_t bytes_up() const override { return relay_ ? relay_->bytes_to_socket() : 0; }
  uint64_t bytes_down() const override { return relay_ ? relay_->bytes_from_socket() : 0; }

 private:
  Status OnStarted();
  void Refuse(Reason reason, std::string detail);
  void End(Reason reason, std::string detail);

  void Send(guest::FrameType type, std::string_view payload, uint8_t flags,
            uint32_t credit) override;
  bool crowded() const override { return services_.agent.full(); }
  void OnRelayEnd(guest::SocketRelay::End end) override;

  UniqueFd socket_;  // Until the server has taken it.
  std::function<void()> on_over_;
  std::unique_ptr<guest::SocketRelay> relay_;
  std::string cut_;  // Why it is being cut.
  Loop::Handle deadline_;
};

}  // namespace sallyport::runtime
