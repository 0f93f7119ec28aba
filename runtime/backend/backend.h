#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sallyport::runtime {

/// How the guest's frames reach us.
enum class LinkKind {
  kNone,    ///< --no-network.
  kTap,     ///< A TAP descriptor: vnet header (12 bytes), checksum and TSO offload.
  kPacket,  ///< AF_PACKET on the far end of a veth pair, where the tun node can't be read.
            ///< Checksums and TCP segmentation may be left to the reader: set PACKET_VNET_HDR.
};
/// "none", "tap", "packet".
std::string_view ToString(LinkKind kind);

/// The network a guest is born into. The same on every backend.
struct GuestNetwork {
  static constexpr const char* kInterface = "eth0";
  static constexpr const char* kGuestV4 = "10.0.2.15";      // /24
  static constexpr const char* kGatewayV4 = "10.0.2.2";     // Also the resolver.
  static constexpr const char* kGuestV6 = "fd00:5a11::15";  // /64
  static constexpr const char* kGatewayV6 = "fd00:5a11::2";
  static constexpr uint8_t kGuestMac[6] = {0x02, 0, 0, 0, 0, 2};
  static constexpr uint8_t kGatewayMac[6] = {0x02, 0, 0, 0, 0, 1};
  static constexpr unsigned kMtu = 1500;
};

/// What a sandbox consists of, before any program runs in it.
struct WorkloadSpec {
  struct Mount {
    std::string source;  ///< Absolute host path, resolved.
    std::string target;  ///< Absolute path inside.
    bool writable = false;
  };
  std::string hostname = "sandbox";
  std::vector<Mount> mounts;
  bool network = true;
  std::string agent_path;  ///< The sandbox-agent binary.
  /// Host files and directories whose content must never be visible inside, whatever is mounted
  /// (state, policy, sources of secrets): hidden where a mount would show them. A mount that lies
  /// in one of them is refused, and so is one that would show a path that does not exist yet. A
  /// hidden file that the host replaces by another one of its name comes out again: hide its
  /// directory.
  std::vector<std::string> masked;
};

/// A started sandbox with its agent as PID 1 and nothing else running in it.
struct Workload {
  pid_t pid = -1;  ///< PID 1, as the host sees it; a child of the caller, who reaps it.
  UniqueFd pidfd;
  UniqueFd agent;  ///< Byte stream to the agent (guest/protocol/frame.h).
  UniqueFd link;   ///< Frames of the guest; invalid without a network. Non-blocking.
  LinkKind link_kind = LinkKind::kNone;
  /// Started as root: the host id of the guest's root, for ConfineOptions::uid. A caller with
  /// another id (and no capability) can't signal the workload, and neither can its death. 0
  /// otherwise: the caller's own id serves.
  uid_t uid = 0;
  UniqueFd ids;  ///< Holds the ids of this sandbox; kept as long as it runs.
};

/// A sandbox on its way up: its first process works by itself meanwhile. Destroyed before Await()
/// it leaves nothing behind.
class StartingWorkload {
 public:
  virtual ~StartingWorkload() = default;
  /// Workload::uid, which is known from the beginning.
  virtual uid_t uid() const = 0;
  /// Says what the sandbox is to be. Once; the start may wait for it for as long as it takes.
  virtual Status Describe(const WorkloadSpec& spec) = 0;
  /// Waits, with a deadline, until the agent runs; after Describe(). Needs nothing that Confine()
  /// takes away. Once.
  virtual Result<Workload> Await() = 0;
};

/// One way to isolate. Starting is plain blocking code with deadlines, before any loop runs;
/// whoever begins it is single-threaded and holds no secret.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  ///< "namespace".
  /// Begins to start a sandbox with what is the same in all of them. kUnsupported, here or later,
  /// when this host can't give the asked isolation: the message says what to change. Never falls
  /// back to less. The workload dies with the calling process.
  virtual Result<std::unique_ptr<StartingWorkload>> Begin() = 0;

  /// Begin(), Describe() and Await() in one.
  Result<Workload> Start(const WorkloadSpec& spec) {
    auto starting = Begin();
    if (!starting) return tl::unexpected(std::move(starting).error());
    auto described = (*starting)->Describe(spec);
    if (!described) return tl::unexpected(std::move(described).error());
    return (*starting)->Await();
  }
};

/// One thing that a backend needs of this host, and whether it is there.
struct HostCheck {
  enum class State { kOk, kMissing, kDegraded };
  std::string what;  ///< "user namespaces"
  State state = State::kOk;
  std::string detail;  ///< What was found.
  std::string fix;     ///< The command or change that mends it; empty when nothing is to do.
};

}  // namespace sallyport::runtime
