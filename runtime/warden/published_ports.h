#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "runtime/warden/inbound.h"
#include "runtime/warden/launch.h"

namespace sallyport::runtime {

class InboundDatagrams;

/// The ports of the host that lead into the sandbox, and what comes in through them. The listening
/// sockets were bound by the owner: a warden can't bind. What is accepted stays here; into the
/// sandbox go bytes alone, as frames to the agent, which connects to the server there.
///
/// The limits are for one sandbox. A client over them sees a reset, or its datagrams are dropped;
/// so does one that comes while the agent does not read what it is sent.
class PublishedPorts {
 public:
  /// Connections at once, each with two descriptors (one of them the agent's) and at most
  /// kInitialCredit of buffered bytes: 64 MiB, if all their clients stop reading.
  static constexpr size_t kMaxStreams = 256;
  /// Clients of UDP ports at once. One more takes the place of the one that was silent longest.
  static constexpr size_t kMaxClients = 128;

  explicit PublishedPorts(const Inbound::Services& services) : services_(services) {}
  /// What still goes on is told as ended with its sandbox.
  ~PublishedPorts();
  PublishedPorts(const PublishedPorts&) = delete;
  PublishedPorts& operator=(const PublishedPorts&) = delete;

  /// SOCKET, a listening TCP or a bound UDP socket, leads to port GUEST. kInvalid for any other,
  /// kLimit beyond kMaxPublishedPorts.
  Result<PublishedPort> Add(UniqueFd socket, uint16_t guest);
  /// Takes back the ports of TRANSPORT with this number, on one ADDRESS or on all: what goes
  /// through them is cut. Returns those that there were.
  std::vector<PublishedPort> Remove(Transport transport, uint16_t port,
                                    const std::optional<IpAddress>& address);
  /// The agent serves: from now on clients are let in. Until then they wait.
  Status Open();

  /// Whether STREAM of the agent's is one of these. No stream of the owner's is.
  static bool Owns(uint32_t stream) { return stream >= kFirstStream; }
  /// A frame of one of these streams. kInvalid for one that breaks the protocol.
  Status OnFrame(const guest::Frame& frame);
  /// The agent takes more again.
  void OnAgentDrained();

  struct Listed {
    PublishedPort port;
    size_t open = 0;  ///< Connections or clients, now.
  };
  std::vector<Listed> List() const;
  /// Everything that goes on, in the order of its streams.
  void ForEach(const std::function<void(const Inbound&)>& visit) const;

 private:
  static constexpr uint32_t kFirstStream = 0x80000000;

  struct Port {
    PublishedPort facts;
    UniqueFd socket;
    std::map<Endpoint, InboundDatagrams*> clients;  // Of a UDP port.
    Loop::Handle watch;
    Loop::Handle pause;  // While no descriptor was to be had.
  };

  Status Watch(Port& port);
  void OnReady(Port& port);
  void Accept(Port& port);
  void OnAccepted(const Port& port, UniqueFd socket, const Endpoint& client);
  void Receive(Port& port);
  InboundDatagrams* ClientOf(Port& port, const Endpoint& client);
  void MakeRoomForClient();
  bool MayEnter(const PublishedPort& port, const Endpoint& client);
  void Pause(Port& port);
  uint32_t NextStream();
  void OnOver();
  void Bury();

  const Inbound::Services services_;
  std::list<Port> ports_;
  std::map<uint32_t, std::unique_ptr<Inbound>> inbound_;  // By stream.
  size_t streams_ = 0;                                    // Of these, TCP.
  uint32_t next_stream_ = kFirstStream;
  bool open_ = false;
  Loop::Handle bury_;
  Loop::Handle resume_;
};

}  // namespace sallyport::runtime
