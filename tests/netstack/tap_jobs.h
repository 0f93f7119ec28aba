#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "base/loop.h"
#include "base/unique_fd.h"
#include "guest.h"
#include "netstack/flow_decider.h"

namespace sallyport::netstack {

// What several tests have a guest's kernel do, and what answers it. Blocking; results are exit
// statuses, 0 for success. The deadline is the caller's: a socket with one of its own (SO_RCVTIMEO)
// fails with EINTR when its process is stopped and continued, by a debugger or a freezer as by a
// signal; one without goes on waiting.

/// A socket of TYPE that is connected to PORT of Far(IP); none if it can't be.
UniqueFd GuestSocket(Ip ip, int type, uint16_t port);

/// Sends SIZE bytes to port 53 and wants them back.
int AskOverUdp(Ip ip, size_t size);

/// The same over IPv6, once the kernel has an address and a route.
int AskOverUdpOnceConfigured();

/// Turns LOOP until the process GUEST has ended, with AFTER_TURN after each turn. Returns its exit
/// status; -1 when it was killed, or had to be because it did not end within a minute.
int WaitForGuest(Loop& loop, pid_t guest, const std::function<void()>& after_turn = [] {});

/// Answers each datagram with itself.
struct Parrot final : DatagramService {
  void OnDatagram(const FlowInfo&, std::string_view payload,
                  std::function<void(std::string_view)> reply) override {
    reply(payload);
  }
};

}  // namespace sallyport::netstack
