#pragma once

#include <functional>

#include "runtime/warden/inbound.h"

namespace sallyport::runtime {

/// The datagrams between one client of the host's and a published UDP port. Nothing is kept: what
/// either side does not take at once is lost, as on a wire. Over when both were silent for a while.
class InboundDatagrams final : public Inbound {
 public:
  /// SOCKET is the port's, through which the client is answered; it outlives this. ON_OVER is
  /// called once, from within; destroy it later.
  InboundDatagrams(const Services& services, Facts facts, int socket,
                   std::function<void()> on_over);
  /// One that is not over ends with its sandbox.
  ~InboundDatagrams() override;

  void Start();
  /// One datagram of the client's.
  void OnClient(std::string_view payload);

  Status OnFrame(const guest::Frame& frame) override;
  void Cut(std::string why) override;
  uint64_t bytes_up() const override { return up_; }
  uint64_t bytes_down() const override { return down_; }
  /// When either side was last heard of.
  Clock::time_point last() const { return last_; }

 private:
  Status OnServer(std::string_view payload);
  void AwaitSilence(Clock::duration time);
  void OnTime();
  void End(Reason reason, std::string detail);

  const int socket_;
  std::function<void()> on_over_;
  uint64_t up_ = 0;
  uint64_t down_ = 0;
  Clock::time_point last_;
  Loop::Handle silence_;
};

}  // namespace sallyport::runtime
