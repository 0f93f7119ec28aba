#include "runtime/backend/namespaces/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/backend/namespaces/files.h"

namespace sallyport::runtime {
namespace {

constexpr unsigned kLoopback = 1;  // In every network namespace.

// Frames of one TCP window (4 MiB at 1,460 bytes: 2,900) for a few connections: the gate recovers
// badly from losses in this queue. It costs 80 KiB a sandbox.
constexpr unsigned kQueueLength = 10000;

void AddFamily(NetlinkBatch& batch, unsigned index, int family, const char* address,
               uint8_t prefix_length, const char* gateway) {
  batch.AddAddress(index, family, address, prefix_length);
  batch.AddDefaultRoute(index, family, gateway);
  batch.AddNeighbour(index, family, gateway, GuestNetwork::kGatewayMac);
}

}  // namespace

bool EnableIpv6(int proc) {
  constexpr const char* kDisabled = "sys/net/ipv6/conf/all/disable_ipv6";
  const UniqueFd file(openat(proc, kDisabled, O_RDONLY | O_CLOEXEC));
  const auto disabled = ReadAll(file.get(), 16);
  if (!disabled) return false;
  if (disabled->starts_with('0')) return true;
  const UniqueFd change(openat(proc, kDisabled, O_WRONLY | O_CLOEXEC));
  return write(change.get(), "0", 1) == 1;
}

Status ConfigureGuestNetwork(bool ipv6) {
  const unsigned index = if_nametoindex(GuestNetwork::kInterface);
  if (index == 0) return tl::unexpected(Error::FromErrno(GuestNetwork::kInterface));
  NetlinkBatch batch;
  batch.ConfigureLink(index, GuestNetwork::kMtu, GuestNetwork::kGuestMac, kQueueLength);
  if (ipv6) batch.SetNoLinkLocal(index);
  batch.SetUp(kLoopback);
  batch.SetUp(index);
  AddFamily(batch, index, AF_INET, GuestNetwork::kGuestV4, 24, GuestNetwork::kGatewayV4);
  if (ipv6) {
    AddFamily(batch, index, AF_INET6, GuestNetwork::kGuestV6, 64, GuestNetwork::kGatewayV6);
  }
  return batch.Send();
}

Status ConfigureLoopback() {
  NetlinkBatch batch;
  batch.SetUp(kLoopback);
  return batch.Send();
}

}  // namespace sallyport::runtime
