#include "netstack/lwip/port.h"

#include <sys/random.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

extern "C" {
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/tcp.h"
}

namespace {

// lwIP's hook for sequence numbers has no argument for an instance.
std::optional<uint32_t> fixed_initial_sequence;
bool instance_exists = false;

void* OrDie(void* memory) {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

extern "C" {

void* sallyport_lwip_malloc(size_t size) {
  return OrDie(std::malloc(size));
}
void* sallyport_lwip_calloc(size_t count, size_t size) {
  return OrDie(std::calloc(count, size));
}
void sallyport_lwip_free(void* memory) {
  std::free(memory);
}

// Drawn in advance, as every connection needs one.
uint32_t sallyport_lwip_random() {
  static std::array<uint32_t, 64> numbers;  // getrandom() gives 256 bytes whole.
  static size_t left = 0;
  if (left == 0) {
    SALLYPORT_CHECK(getrandom(numbers.data(), sizeof numbers, 0) == sizeof numbers);
    left = numbers.size();
  }
  return numbers[--left];
}

uint32_t sallyport_lwip_initial_sequence() {
  return fixed_initial_sequence ? *fixed_initial_sequence : sallyport_lwip_random();
}

void sallyport_lwip_assert(const char* message, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: lwIP: %s\n", file, line, message);
  std::abort();
}

// lwIP says that its timers are needed; TcpLayer sees that for itself.
void tcp_timer_needed() {}

}  // extern "C"

namespace sallyport::netstack {
namespace {

// To lwIP the link has room for any packet: what does not fit the guest's MTU is cut by the link.
constexpr uint16_t kLwipMtu = TCP_MSS + 40;

LwipPort::Output& OutputOf(netif* interface) {
  return *static_cast<LwipPort::Output*>(interface->state);
}

err_t OnOutput4(netif* interface, pbuf* packet, const ip4_addr_t*) noexcept {
  return OutputOf(interface).OnLwipOutput(*packet, false) ? ERR_OK : ERR_WOULDBLOCK;
}

err_t OnOutput6(netif* interface, pbuf* packet, const ip6_addr_t*) noexcept {
  return OutputOf(interface).OnLwipOutput(*packet, true) ? ERR_OK : ERR_WOULDBLOCK;
}

err_t OnInit(netif* interface) noexcept {
  interface->mtu = kLwipMtu;
  interface->output = OnOutput4;
  interface->output_ip6 = OnOutput6;
  interface->name[0] = 's';
  interface->name[1] = 'p';
  return ERR_OK;
}

// Packets are fed to tcp_input() directly.
err_t OnInput(pbuf* packet, netif*) noexcept {
  pbuf_free(packet);
  return ERR_OK;
}

err_t OnAccept(void*, tcp_pcb*, err_t) noexcept {
  return ERR_OK;
}

}  // namespace

bool LwipPort::exists() {
  return instance_exists;
}

LwipPort::LwipPort(Output& output, Checksums checksums, std::optional<uint32_t> initial_sequence) {
  SALLYPORT_CHECK(!instance_exists);
  instance_exists = true;
  fixed_initial_sequence = initial_sequence;
  lwip_init();
  // lwIP sends nothing through an interface without an address. Which one it is doesn't matter:
  // each connection has its own.
  ip4_addr_t address, mask, gateway;
  IP4_ADDR(&address, 192, 0, 2, 1);
  IP4_ADDR(&mask, 255, 255, 255, 255);
  IP4_ADDR(&gateway, 0, 0, 0, 0);
  SALLYPORT_CHECK(netif_add(&interface_, &address, &mask, &gateway, &output, OnInit, OnInput));
  netif_set_default(&interface_);
  netif_set_up(&interface_);
  netif_set_link_up(&interface_);
  // What comes in was verified before it gets here.
  const auto generated = checksums == Checksums::kByLwip
                             ? NETIF_CHECKSUM_GEN_IP | NETIF_CHECKSUM_GEN_TCP
                             : NETIF_CHECKSUM_GEN_IP;
  NETIF_SET_CHECKSUM_CTRL(&interface_, static_cast<u16_t>(generated));

  // One listener for every address and port: its port is set to a SYN's for the time of the call.
  tcp_pcb* pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
  SALLYPORT_CHECK(tcp_bind(pcb, IP_ANY_TYPE, 9) == ERR_OK);
  listener_ = reinterpret_cast<tcp_pcb_listen*>(tcp_listen(pcb));
  SALLYPORT_CHECK(listener_ != nullptr);
  tcp_accept(reinterpret_cast<tcp_pcb*>(listener_), OnAccept);
  listener_->local_port = 0;
}

LwipPort::~LwipPort() {
  SALLYPORT_CHECK(tcp_active_pcbs == nullptr && tcp_tw_pcbs == nullptr);
  tcp_close(reinterpret_cast<tcp_pcb*>(listener_));
  netif_remove(&interface_);
  ip_data = {};
  fixed_initial_sequence.reset();
  instance_exists = false;
}

void LwipPort::SetCurrent(const Packet& packet) {
  ip_data.current_netif = &interface_;
  ip_data.current_input_netif = &interface_;
  ip_data.current_ip_header_tot_len = static_cast<u16_t>(packet.header_length());
  if (packet.v6) {
    ip_data.current_ip4_header = nullptr;
    ip_data.current_ip6_header = reinterpret_cast<ip6_hdr*>(packet.whole.data());
    ip6_addr_t address{};
    std::memcpy(address.addr, packet.source().data(), 16);
    ip_addr_copy_from_ip6(ip_data.current_iphdr_src, address);
    std::memcpy(address.addr, packet.destination().data(), 16);
    ip_addr_copy_from_ip6(ip_data.current_iphdr_dest, address);
  } else {
    ip_data.current_ip4_header = reinterpret_cast<ip_hdr*>(packet.whole.data());
    ip_data.current_ip6_header = nullptr;
    ip4_addr_t address{};
    std::memcpy(&address.addr, packet.source().data(), 4);
    ip_addr_copy_from_ip4(ip_data.current_iphdr_src, address);
    std::memcpy(&address.addr, packet.destination().data(), 4);
    ip_addr_copy_from_ip4(ip_data.current_iphdr_dest, address);
  }
}

void LwipPort::Input(pbuf* segment, uint16_t listen_port) {
  listener_->local_port = listen_port;
  tcp_input(segment, &interface_);
  listener_->local_port = 0;
}

void LwipPort::Reset(const Packet& packet, uint16_t source_port, uint16_t destination_port,
                     uint32_t sequence, uint32_t acknowledgement) {
  SetCurrent(packet);
  tcp_rst(nullptr, sequence, acknowledgement, ip_current_dest_addr(), ip_current_src_addr(),
          destination_port, source_port);
}

}  // namespace sallyport::netstack
