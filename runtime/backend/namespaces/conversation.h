#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// What the launcher and the sandbox's first process tell each other before it becomes the agent,
/// one packet each over a sequential-packet socket:
///
///     launcher  kMapped            (as root) the id maps are written
///     launcher  kTools             (as root) detached mounts of the tools, their names a line each
///     launcher  kPlan + file       what the sandbox is to be (plan.h); as root also the agent's
///                                  program and the plan's mounts, detached, in its order
///     process   kReady + link      everything is done; what is left is to become the agent
///     process   kFailed            code and message; instead of either, or after kReady
///     process   (end)              it has become the agent, as the socket closes on exec
struct Packet {
  enum class Kind : char {
    kEnd = 0,
    kMapped = 'm',
    kTools = 't',
    kPlan = 'p',
    kReady = 'r',
    kFailed = 'f'
  };
  Kind kind = Kind::kEnd;
  std::string text;
  std::vector<UniqueFd> fds;
};

/// The kernel takes no more in one packet (SCM_MAX_FD).
constexpr size_t kMaxPacketFds = 253;

Status SendPacket(int socket, Packet::Kind kind, std::string_view text, std::span<const int> fds);

/// The next packet; kEnd when the other side is gone; kTimeout after DEADLINE.
Result<Packet> ReceivePacket(int socket, std::chrono::steady_clock::time_point deadline);

/// An Error as the text of a kFailed packet, and back.
std::string EncodeError(const Error& error);
Error DecodeError(std::string_view text);

}  // namespace sallyport::runtime
