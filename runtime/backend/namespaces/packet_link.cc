// The guest's namespace G and a namespace F of its own for the far end:
//
//     G: eth0 ====veth==== far0 :F    AF_PACKET socket, bound to far0 and handed out
//
// F has no address, no route and no process in it; what the guest sends is seen by the socket and
// by nobody else. The pair and F end with the socket, or with G. The guest's end keeps its
// offloads: who reads the socket sets PACKET_VNET_HDR and learns which checksums and cuts are left
// to do.

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/backend/namespaces/network.h"

namespace sallyport::runtime {
namespace {

constexpr const char* kFarEnd = "far0";
constexpr int kReceiveBuffer = 8 << 20;  // As far as net.core.rmem_max lets it.
constexpr unsigned kFarQueueLength = 1000;

/// Makes the pair and the socket, in F.
Result<UniqueFd> MakeFarEnd(int guest_namespace, int proc) {
  NetlinkBatch pair;
  pair.AddVethPair(kFarEnd, GuestNetwork::kInterface, guest_namespace);
  auto made = pair.Send();
  if (!made) return tl::unexpected(std::move(made).error());
  const unsigned index = if_nametoindex(kFarEnd);
  if (index == 0) return tl::unexpected(Error::FromErrno(kFarEnd));
  UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return tl::unexpected(Error::FromErrno("opening a packet socket"));
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  if (setsockopt(socket.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
      // Else the first frames are dropped: the queue of a new link is attached a moment later.
      setsockopt(socket.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
    return tl::unexpected(Error::FromErrno("setting up the packet socket"));
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return tl::unexpected(Error::FromErrno("binding the packet socket"));
  }
  NetlinkBatch up;
  up.ConfigureLink(index, GuestNetwork::kMtu, GuestNetwork::kGatewayMac, kFarQueueLength);
  if (faccessat(proc, "sys/net/ipv6", F_OK, 0) == 0) up.SetNoLinkLocal(index);
  up.SetUp(index);
  made = up.Send();
  if (!made) return tl::unexpected(std::move(made).error());
  return socket;
}

}  // namespace

Result<UniqueFd> MakePacketLink(int proc) {
  const UniqueFd guest(openat(proc, "thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!guest.valid()) return tl::unexpected(Error::FromErrno("the network namespace"));
  if (unshare(CLONE_NEWNET) != 0) {
    return tl::unexpected(Error::FromErrno("creating the far end's network namespace"));
  }
  auto socket = MakeFarEnd(guest.get(), proc);
  if (setns(guest.get(), CLONE_NEWNET) != 0) {
    return tl::unexpected(Error::FromErrno("returning to the guest's network namespace"));
  }
  return socket;
}

}  // namespace sallyport::runtime
