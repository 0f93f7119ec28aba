#include "netstack/fragments.h"

#include <cstring>

#include "netstack/byte_order.h"

extern "C" {
#include "lwip/ip4_frag.h"
}

namespace sallyport::netstack {
namespace {

// lwIP forgets a datagram at the first of its seconds after IP_REASS_MAXAGE (15).
constexpr int kTicksToForget = 17;
constexpr size_t kLargestPayload = 65535 - kIpv4Header;

}  // namespace

Fragments::Fragments(Loop& loop, LwipPort& lwip, const StackOptions& options, StackStats& stats)
    : loop_(loop), lwip_(lwip), options_(options), stats_(stats) {}

Fragments::~Fragments() {
  // lwIP keeps them in a global.
  for (; ticks_left_ > 0; --ticks_left_) ip_reass_tmr();
}

std::span<uint8_t> Fragments::Add(const Packet& fragment) {
  const uint16_t field = Load16(&fragment.whole[6]);
  const bool more = (field & 0x2000) != 0;
  const size_t offset = size_t{8} * (field & 0x1fff);
  const size_t size = fragment.payload.size();
  // lwIP trusts that a datagram's pieces do not add up to more than 65,535 bytes.
  if (size == 0 || offset + size > kLargestPayload || (more && size % 8 != 0) ||
      fragment.whole.size() > options_.mtu) {
    stats_.Count(Drop::kMalformed);
    return {};
  }
  if (fragment.protocol != kProtocolUdp && fragment.protocol != kProtocolIcmp) {
    stats_.Count(Drop::kFragment);
    return {};
  }

  pbuf* piece = pbuf_alloc(PBUF_RAW, static_cast<u16_t>(fragment.whole.size()), PBUF_RAM);
  pbuf_take(piece, fragment.whole.data(), piece->len);
  lwip_.SetCurrent(fragment);
  if (ticks_left_ == 0) SetTimer();
  ticks_left_ = kTicksToForget;
  pbuf* whole = ip4_reass(piece);
  if (whole == nullptr) return {};
  whole_.resize(whole->tot_len);
  pbuf_copy_partial(whole, whole_.data(), whole->tot_len, 0);
  pbuf_free(whole);
  return whole_;
}

void Fragments::SetTimer() {
  timer_ = loop_.After(std::chrono::milliseconds(IP_TMR_INTERVAL), [this] { OnTimer(); });
}

void Fragments::OnTimer() {
  ip_reass_tmr();
  if (--ticks_left_ > 0) SetTimer();
}

}  // namespace sallyport::netstack
