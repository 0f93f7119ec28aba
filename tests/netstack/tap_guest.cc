#include "tap_guest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "guest.h"

namespace sallyport::netstack {
namespace {

bool WriteFile(const char* path, const std::string& text) {
  const UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() &&
         write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool EnterNamespaces() {
  const std::string uid = std::to_string(geteuid());
  const std::string gid = std::to_string(getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  WriteFile("/proc/self/setgroups", "deny");
  return WriteFile("/proc/self/uid_map", "0 " + uid + " 1") &&
         WriteFile("/proc/self/gid_map", "0 " + gid + " 1");
}

ifreq Named() {
  ifreq request{};
  std::strcpy(request.ifr_name, "eth0");
  return request;
}

UniqueFd OpenTap() {
  UniqueFd tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ifreq request = Named();
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  int header_size = 12;
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0 ||
      ioctl(tap.get(), TUNSETVNETHDRSZ, &header_size) != 0 ||
      ioctl(tap.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) != 0) {
    return {};
  }
  return tap;
}

// A packet socket on the far end of a veth pair; both ends are in the guest's namespace, which is
// no protection but good enough to carry frames.
UniqueFd OpenVeth() {
  if (system("ip link add eth0 type veth peer name gate0 2>&1 && ip link set gate0 up") != 0) {
    return {};
  }
  UniqueFd packets(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex("gate0"));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (bind(packets.get(), name, sizeof address) != 0) return {};
  return packets;
}

void SetV4(sockaddr& to, const IpAddress& address) {
  sockaddr_storage storage;
  Endpoint{address, 0}.ToSockaddr(storage);
  std::memcpy(&to, &storage, sizeof(sockaddr_in));
}

bool SetMac(const StackOptions& options) {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = Named();
  request.ifr_hwaddr.sa_family = 1;  // ARPHRD_ETHER
  std::copy(options.guest_mac.begin(), options.guest_mac.end(), request.ifr_hwaddr.sa_data);
  return ioctl(control.get(), SIOCSIFHWADDR, &request) == 0;
}

bool SetUp() {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = Named();
  request.ifr_flags = IFF_UP;
  return ioctl(control.get(), SIOCSIFFLAGS, &request) == 0;
}

bool ConfigureV4(const StackOptions& options) {
  const UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = Named();
  SetV4(request.ifr_addr, options.guest_v4);
  if (ioctl(control.get(), SIOCSIFADDR, &request) != 0) return false;
  SetV4(request.ifr_netmask, IpAddress::V4(255, 255, 255, 0));
  if (ioctl(control.get(), SIOCSIFNETMASK, &request) != 0) return false;
  if (!SetUp()) return false;
  rtentry route{};
  SetV4(route.rt_dst, IpAddress());
  SetV4(route.rt_genmask, IpAddress());
  SetV4(route.rt_gateway, options.gateway_v4);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  return ioctl(control.get(), SIOCADDRT, &route) == 0;
}

// By netlink, since that has a flag for an address that needs no waiting for somebody else who
// might have it.
bool AddV6Address(const IpAddress& address, uint32_t interface) {
  struct {
    nlmsghdr header;
    ifaddrmsg body;
    rtattr attribute;
    uint8_t bytes[16];
  } request{};
  request.header = {.nlmsg_len = sizeof request,
                    .nlmsg_type = RTM_NEWADDR,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE,
                    .nlmsg_seq = 1,
                    .nlmsg_pid = 0};
  request.body = {.ifa_family = AF_INET6,
                  .ifa_prefixlen = 64,
                  .ifa_flags = IFA_F_NODAD,
                  .ifa_scope = 0,
                  .ifa_index = interface};
  request.attribute = {.rta_len = sizeof(rtattr) + 16, .rta_type = IFA_LOCAL};
  std::ranges::copy(address.bytes(), request.bytes);
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  return send(netlink.get(), &request, sizeof request, 0) == sizeof request &&
         recv(netlink.get(), &answer, sizeof answer, 0) > 0 && answer.error.error == 0;
}

bool ConfigureV6(const StackOptions& options) {
  const UniqueFd control(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq named = Named();
  if (ioctl(control.get(), SIOCGIFINDEX, &named) != 0) return false;
  if (!AddV6Address(options.guest_v6, static_cast<uint32_t>(named.ifr_ifindex))) return false;
  in6_rtmsg route{};
  std::ranges::copy(options.gateway_v6.bytes(), route.rtmsg_gateway.s6_addr);
  route.rtmsg_flags = RTF_UP | RTF_GATEWAY;
  route.rtmsg_metric = 1;
  route.rtmsg_ifindex = named.ifr_ifindex;
  return ioctl(control.get(), SIOCADDRT, &route) == 0;
}

void SendFd(int socket, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(item), &fd, sizeof fd);
  sendmsg(socket, &message, MSG_NOSIGNAL);
}

UniqueFd ReceiveFd(int socket) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return {};
  const cmsghdr* item = CMSG_FIRSTHDR(&message);
  if (item == nullptr) return {};
  int fd;
  std::memcpy(&fd, CMSG_DATA(item), sizeof fd);
  return UniqueFd(fd);
}

// Never returns.
void RunGuest(int socket, GuestLink kind, const std::function<int()>& job, GuestSetup setup) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const StackOptions options = TestOptions();
  if (!EnterNamespaces()) _exit(1);
  UniqueFd link = kind == GuestLink::kTap ? OpenTap() : OpenVeth();
  if (!link.valid()) _exit(1);
  if (!SetMac(options)) _exit(1);
  const bool asks = setup == GuestSetup::kAsks;
  if (!asks && (!ConfigureV4(options) || !ConfigureV6(options))) _exit(1);
  SendFd(socket, link.get());
  link.reset();
  char go;
  if (read(socket, &go, 1) != 0) _exit(1);  // The other end was closed: the link has arrived.
  if (asks && !SetUp()) _exit(1);
  _exit(job());
}

}  // namespace

Result<TapGuest> StartTapGuest(GuestLink link, const std::function<int()>& job, GuestSetup setup) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return tl::unexpected(Error::FromErrno("socketpair"));
  }
  UniqueFd ours(sockets[0]);
  UniqueFd theirs(sockets[1]);
  const pid_t pid = fork();
  if (pid < 0) return tl::unexpected(Error::FromErrno("fork"));
  if (pid == 0) {
    ours.reset();
    RunGuest(theirs.get(), link, job, setup);
  }
  theirs.reset();
  TapGuest guest{ReceiveFd(ours.get()), pid};
  if (guest.link.valid()) return guest;
  waitpid(pid, nullptr, 0);
  return Fail(Code::kUnsupported, "no network namespace with such a link can be made here");
}

}  // namespace sallyport::netstack
