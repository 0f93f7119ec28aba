#include "runtime/backend/namespaces/netlink.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"

namespace sallyport::runtime {
namespace {

constexpr timeval kAnswerTimeout{5, 0};  // The kernel answers at once, or something is broken.

size_t AddressSize(int family) {
  return family == AF_INET ? 4 : 16;
}

}  // namespace

void NetlinkBatch::Append(const void* bytes, size_t size) {
  bytes_.append(static_cast<const char*>(bytes), size);
  bytes_.resize((bytes_.size() + NLMSG_ALIGNTO - 1) / NLMSG_ALIGNTO * NLMSG_ALIGNTO);
}

void NetlinkBatch::Attribute(uint16_t type, const void* bytes, size_t size) {
  const rtattr header{static_cast<unsigned short>(RTA_LENGTH(size)), type};
  bytes_.append(reinterpret_cast<const char*>(&header), sizeof header);
  Append(bytes, size);
}

void NetlinkBatch::AddressAttribute(uint16_t type, int family, const char* address) {
  uint8_t binary[16] = {};
  inet_pton(family, address, binary);
  Attribute(type, binary, AddressSize(family));
}

size_t NetlinkBatch::BeginNested(uint16_t type) {
  const size_t at = bytes_.size();
  Attribute(type, nullptr, 0);
  return at;
}

void NetlinkBatch::EndNested(size_t at) {
  const auto size = static_cast<unsigned short>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at + offsetof(rtattr, rta_len), &size, sizeof size);
}

void NetlinkBatch::Begin(uint16_t type, uint16_t flags, const char* what) {
  message_ = bytes_.size();
  changes_.push_back(what);
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  header.nlmsg_seq = static_cast<uint32_t>(changes_.size());
  Append(&header, sizeof header);
}

void NetlinkBatch::BeginLink(unsigned index, unsigned flags, uint16_t message_flags,
                             const char* what) {
  Begin(RTM_NEWLINK, message_flags, what);
  ifinfomsg link{};
  link.ifi_family = AF_UNSPEC;
  link.ifi_index = static_cast<int>(index);
  link.ifi_flags = flags;
  link.ifi_change = flags;
  Append(&link, sizeof link);
}

void NetlinkBatch::End() {
  const auto size = static_cast<uint32_t>(bytes_.size() - message_);
  std::memcpy(bytes_.data() + message_ + offsetof(nlmsghdr, nlmsg_len), &size, sizeof size);
}

void NetlinkBatch::ConfigureLink(unsigned index, unsigned mtu, const uint8_t* mac,
                                 unsigned queue_length) {
  BeginLink(index, 0, 0, "configuring the link");
  Attribute(IFLA_MTU, mtu);
  if (mac != nullptr) Attribute(IFLA_ADDRESS, mac, 6);
  Attribute(IFLA_TXQLEN, queue_length);
  End();
}

void NetlinkBatch::SetNoLinkLocal(unsigned index) {
  BeginLink(index, 0, 0, "switching link-local addresses off");
  const size_t families = BeginNested(IFLA_AF_SPEC);
  const size_t inet6 = BeginNested(AF_INET6);
  const uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
  Attribute(IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
  EndNested(inet6);
  EndNested(families);
  End();
}

void NetlinkBatch::SetUp(unsigned index) {
  BeginLink(index, IFF_UP, 0, "bringing the link up");
  End();
}

void NetlinkBatch::AddAddress(unsigned index, int family, const char* address,
                              uint8_t prefix_length) {
  Begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "adding an address");
  ifaddrmsg message{};
  message.ifa_family = static_cast<uint8_t>(family);
  message.ifa_prefixlen = prefix_length;
  message.ifa_index = index;
  // Without it an IPv6 address is not usable for a second, until nobody has claimed it.
  if (family == AF_INET6) message.ifa_flags = IFA_F_NODAD;
  Append(&message, sizeof message);
  AddressAttribute(IFA_LOCAL, family, address);
  AddressAttribute(IFA_ADDRESS, family, address);
  End();
}

void NetlinkBatch::AddDefaultRoute(unsigned index, int family, const char* gateway) {
  Begin(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "adding the default route");
  rtmsg message{};
  message.rtm_family = static_cast<uint8_t>(family);
  message.rtm_table = RT_TABLE_MAIN;
  message.rtm_protocol = RTPROT_STATIC;
  message.rtm_scope = RT_SCOPE_UNIVERSE;
  message.rtm_type = RTN_UNICAST;
  Append(&message, sizeof message);
  AddressAttribute(RTA_GATEWAY, family, gateway);
  Attribute(RTA_OIF, index);
  End();
}

void NetlinkBatch::AddNeighbour(unsigned index, int family, const char* address,
                                const uint8_t* mac) {
  Begin(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, "adding the gateway's address");
  ndmsg message{};
  message.ndm_family = static_cast<uint8_t>(family);
  message.ndm_ifindex = static_cast<int>(index);
  message.ndm_state = NUD_PERMANENT;
  Append(&message, sizeof message);
  AddressAttribute(NDA_DST, family, address);
  Attribute(NDA_LLADDR, mac, 6);
  End();
}

void NetlinkBatch::AddVethPair(std::string_view name, std::string_view peer, int peer_namespace) {
  BeginLink(0, 0, NLM_F_CREATE | NLM_F_EXCL, "creating a veth pair");
  Attribute(IFLA_IFNAME, std::string(name).c_str(), name.size() + 1);
  const size_t info = BeginNested(IFLA_LINKINFO);
  Attribute(IFLA_INFO_KIND, "veth", 4);
  const size_t data = BeginNested(IFLA_INFO_DATA);
  const size_t other = BeginNested(VETH_INFO_PEER);
  const ifinfomsg link{};
  Append(&link, sizeof link);
  Attribute(IFLA_IFNAME, std::string(peer).c_str(), peer.size() + 1);
  Attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(peer_namespace));
  EndNested(other);
  EndNested(data);
  EndNested(info);
  End();
}

Status NetlinkBatch::ReadAnswers(int socket) const {
  alignas(nlmsghdr) char buffer[16384];
  for (size_t answered = 0; answered < changes_.size();) {
    const ssize_t got = recv(socket, buffer, sizeof buffer, 0);
    if (got < 0) return tl::unexpected(Error::FromErrno("netlink"));
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      ++answered;
      nlmsgerr answer;
      std::memcpy(&answer, NLMSG_DATA(header), sizeof answer);
      const uint32_t number = header->nlmsg_seq;
      if (answer.error == 0 || number == 0 || number > changes_.size()) continue;
      errno = -answer.error;
      return tl::unexpected(Error::FromErrno(changes_[number - 1]));
    }
  }
  return {};
}

Status NetlinkBatch::Send() {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return tl::unexpected(Error::FromErrno("netlink"));
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  if (send(socket.get(), bytes_.data(), bytes_.size(), 0) < 0) {
    return tl::unexpected(Error::FromErrno("netlink"));
  }
  return ReadAnswers(socket.get());
}

}  // namespace sallyport::runtime
