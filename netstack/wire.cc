#include "netstack/wire.h"

#include <algorithm>
#include <utility>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"

namespace sallyport::netstack {
namespace {

constexpr uint16_t kDontFragment = 0x4000;
constexpr uint16_t kMoreFragments = 0x2000;

using IpHeader = std::array<uint8_t, kIpv6Header>;  // Room for either version.

void FinishIpv4(std::span<uint8_t> header, size_t total, uint16_t id, uint16_t fragment) {
  Store16(&header[2], total);
  Store16(&header[4], id);
  Store16(&header[6], fragment);
  Store16(&header[10], 0);
  Checksum checksum;
  checksum.Add(header);
  Store16(&header[10], checksum.Finish());
}

// All of the header but what FinishIpv4 fills in.
std::span<uint8_t> MakeIpHeader(std::span<const uint8_t> source,
                                std::span<const uint8_t> destination, uint8_t protocol,
                                size_t payload, uint8_t hop_limit, IpHeader& storage) {
  storage.fill(0);
  if (source.size() == 4) {
    storage[0] = 0x45;  // Version 4, five words.
    storage[8] = hop_limit;
    storage[9] = protocol;
    std::ranges::copy(source, storage.begin() + 12);
    std::ranges::copy(destination, storage.begin() + 16);
    return std::span(storage).first<kIpv4Header>();
  }
  storage[0] = 0x60;  // Version 6.
  Store16(&storage[4], payload);
  storage[6] = protocol;
  storage[7] = hop_limit;
  std::ranges::copy(source, storage.begin() + 8);
  std::ranges::copy(destination, storage.begin() + 24);
  return storage;
}

using FragmentHeaders = std::array<uint8_t, kIpv6Header + kFragmentHeaderSize>;

// IP_HEADER, for PART of PIECE bytes; for IPv6 with a Fragment header behind it.
std::span<uint8_t> MakeFragmentHeaders(std::span<const uint8_t> ip_header, const FragmentPart& part,
                                       size_t piece, FragmentHeaders& storage) {
  std::ranges::copy(ip_header, storage.begin());
  if (ip_header.size() == kIpv4Header) {
    const auto ip = std::span(storage).first<kIpv4Header>();
    const size_t more = part.more ? kMoreFragments : 0;
    FinishIpv4(ip, ip.size() + piece, static_cast<uint16_t>(part.id),
               static_cast<uint16_t>(more | part.offset / 8));
    return ip;
  }
  uint8_t* fragment = &storage[kIpv6Header];
  fragment[0] = std::exchange(storage[6], kProtocolFragment);
  fragment[1] = 0;
  Store16(fragment + 2, part.offset | (part.more ? 1 : 0));
  Store32(fragment + 4, part.id);
  Store16(&storage[4], kFragmentHeaderSize + piece);
  return storage;
}

}  // namespace

Wire::Wire(Link& link, const StackOptions& options, StackStats& stats)
    : link_(link), mtu_(options.mtu), stats_(stats) {
  std::ranges::copy(options.guest_mac, addresses_.begin());
  std::ranges::copy(options.gateway_mac, addresses_.begin() + 6);
}

void Wire::Send(EtherType type, Parts& parts, const Offload& offload) {
  std::array<uint8_t, kEthernetHeader> ethernet;
  std::ranges::copy(addresses_, ethernet.begin());
  Store16(&ethernet[12], static_cast<uint16_t>(type));
  parts.parts_[0] = {nullptr, 0};
  parts.parts_[1] = {ethernet.data(), ethernet.size()};
  if (link_.Write(std::span(parts.parts_).first(parts.count_), offload)) {
    ++stats_.frames_out;
  } else {
    stats_.Count(Drop::kLinkFull);
  }
}

void Wire::SendArp(std::span<const uint8_t> packet) {
  Parts parts;
  parts.Add(packet.data(), packet.size());
  Send(EtherType::kArp, parts);
}

void Wire::SendTransport(std::span<const uint8_t> source, std::span<const uint8_t> destination,
                         uint8_t protocol, std::span<uint8_t> header, size_t checksum_offset,
                         std::span<const uint8_t> data, uint8_t hop_limit) {
  const bool v6 = source.size() == 16;
  const size_t payload = header.size() + data.size();
  const size_t total = payload + (v6 ? kIpv6Header : kIpv4Header);
  const bool fits = total <= mtu_;
  // An IPv4 packet's length counts its header, an IPv6 packet's doesn't.
  if ((v6 ? payload : total) > 65535) return stats_.Count(Drop::kTooLarge);

  Checksum checksum;
  if (protocol != kProtocolIcmp) {
    checksum.AddPseudoHeader(source, destination, protocol, payload);
  }
  Offload offload;
  Store16(&header[checksum_offset], 0);
  if (protocol == kProtocolUdp && fits && has_offload()) {
    offload.finish_checksum = true;
    offload.checksum_start = static_cast<uint16_t>(kEthernetHeader + total - payload);
    offload.checksum_offset = static_cast<uint16_t>(checksum_offset);
    Store16(&header[checksum_offset], checksum.Partial());
  } else {
    checksum.Add(header);
    checksum.Add(data);
    const uint16_t sum = checksum.Finish();
    const bool zero_means_none = protocol == kProtocolUdp;
    Store16(&header[checksum_offset], sum == 0 && zero_means_none ? 0xffff : sum);
  }

  IpHeader storage;
  const std::span<uint8_t> ip =
      MakeIpHeader(source, destination, protocol, payload, hop_limit, storage);
  if (!fits) return SendFragments(ip, header, data);
  if (!v6) FinishIpv4(ip, total, static_cast<uint16_t>(next_id_++), kDontFragment);
  Parts parts;
  parts.Add(ip.data(), ip.size());
  parts.Add(header.data(), header.size());
  parts.Add(data.data(), data.size());
  Send(v6 ? EtherType::kIpv6 : EtherType::kIpv4, parts, offload);
}

void Wire::SendFragments(std::span<const uint8_t> ip_header, std::span<const uint8_t> header,
                         std::span<const uint8_t> data) {
  const bool v6 = ip_header.size() == kIpv6Header;
  const size_t headers = v6 ? kIpv6Header + kFragmentHeaderSize : kIpv4Header;
  // HEADER has a multiple of 8 bytes or not: pieces are cut from both as if they were one.
  const size_t piece_limit = (mtu_ - headers) / 8 * 8;
  const size_t payload = header.size() + data.size();
  const uint32_t id = next_id_++;
  for (size_t at = 0; at < payload; at += piece_limit) {
    const size_t piece = std::min(piece_limit, payload - at);
    const FragmentPart part{.id = id, .offset = at, .more = at + piece < payload};
    FragmentHeaders storage;
    const std::span<uint8_t> front = MakeFragmentHeaders(ip_header, part, piece, storage);
    Parts parts;
    parts.Add(front.data(), front.size());
    const size_t of_header = at < header.size() ? std::min(piece, header.size() - at) : 0;
    if (of_header > 0) parts.Add(&header[at], of_header);
    const size_t data_at = at + of_header - header.size();
    parts.Add(data.data() + data_at, piece - of_header);
    Send(v6 ? EtherType::kIpv6 : EtherType::kIpv4, parts);
  }
}

}  // namespace sallyport::netstack
