#include "netstack/datagram_cutter.h"

#include <algorithm>
#include <variant>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

constexpr size_t kUdpHeader = 8;

// Writes the lengths of the packet in FRAME, whose UDP header ends at HEADERS, into its headers.
void SetLengths(std::span<uint8_t> frame, size_t headers) {
  const std::span<uint8_t> ip = frame.subspan(kEthernetHeader);
  const size_t udp = frame.size() - headers + kUdpHeader;
  Store16(&frame[headers - kUdpHeader + 4], udp);
  if (ip[0] >> 4 == 6) return Store16(&ip[4], udp);
  Store16(&ip[2], kIpv4Header + udp);
  Store16(&ip[10], 0);
  Checksum checksum;
  checksum.Add(ip.first(kIpv4Header));
  Store16(&ip[10], checksum.Finish());
}

}  // namespace

bool DatagramCutter::Start(std::span<const uint8_t> frame, size_t piece) {
  frame_.clear();
  at_ = 0;
  if (frame.size() < kEthernetHeader || piece == 0) return false;
  std::vector<uint8_t> copy(frame.begin(), frame.end());
  const auto parsed =
      ParseIp(static_cast<EtherType>(Load16(&copy[12])), std::span(copy).subspan(kEthernetHeader));
  const auto* packet = std::get_if<Packet>(&parsed);
  if (packet == nullptr || packet->protocol != kProtocolUdp || packet->fragment) return false;
  if (packet->payload.size() <= kUdpHeader + piece) return false;

  headers_ = kEthernetHeader + packet->header_length() + kUdpHeader;
  copy.resize(kEthernetHeader + packet->whole.size());  // Without padding.
  frame_ = std::move(copy);
  piece_ = piece;
  at_ = headers_;
  return true;
}

size_t DatagramCutter::Next(std::span<uint8_t> buffer) {
  const size_t piece = std::min(piece_, frame_.size() - at_);
  const std::span<uint8_t> out = buffer.first(headers_ + piece);
  std::copy_n(frame_.begin(), headers_, out.begin());
  std::copy_n(frame_.begin() + static_cast<ptrdiff_t>(at_), piece,
              out.begin() + static_cast<ptrdiff_t>(headers_));
  SetLengths(out, headers_);
  at_ += piece;
  if (!pending()) {
    frame_ = {};
    at_ = 0;
  }
  return out.size();
}

}  // namespace sallyport::netstack
