#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "runtime/backend/namespaces/network.h"

namespace sallyport::runtime {
namespace {

constexpr int kVnetHeaderSize = 12;  // struct virtio_net_hdr_v1, as netstack/ reads it.
constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

}  // namespace

Result<UniqueFd> OpenTunNode(int folder, const std::string& file) {
  UniqueFd tun(openat(folder, file.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.valid()) return tl::unexpected(Error::FromErrno(file));
  return tun;
}

Status MakeTap(int tun) {
  ifreq request{};
  std::strncpy(request.ifr_name, GuestNetwork::kInterface, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tun, TUNSETIFF, &request) != 0) {
    return tl::unexpected(Error::FromErrno("creating the TAP"));
  }
  int size = kVnetHeaderSize;
  if (ioctl(tun, TUNSETVNETHDRSZ, &size) != 0 || ioctl(tun, TUNSETOFFLOAD, kOffloads) != 0) {
    return tl::unexpected(Error::FromErrno("setting the TAP's offloads"));
  }
  return {};
}

}  // namespace sallyport::runtime
