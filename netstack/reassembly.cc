#include "netstack/reassembly.h"

#include <algorithm>

#include "netstack/byte_order.h"
#include "netstack/checksum.h"

namespace sallyport::netstack {
namespace {

// Of the payload: an IPv4 packet's total length counts its header, an IPv6 packet's doesn't.
size_t LargestPayload(bool v6) {
  return v6 ? 65535 : 65535 - kIpv4Header;
}

// UDP's and ICMP's headers; what a packet is must be seen in its first fragment (RFC 7112).
constexpr size_t kLeastFirst = 8;

bool WellFormed(const Packet& fragment) {
  const auto& part = fragment.part;
  const size_t size = fragment.payload.size();
  if (size == 0 || part.offset + size > LargestPayload(fragment.v6)) return false;
  if (part.more && size % 8 != 0) return false;
  return part.offset > 0 || size >= kLeastFirst;
}

}  // namespace

Reassembly::Key Reassembly::KeyOf(const Packet& fragment) {
  Key key{
      .v6 = fragment.v6, .protocol = fragment.protocol, .id = fragment.part.id, .addresses = {}};
  std::ranges::copy(fragment.source(), key.addresses.begin());
  std::ranges::copy(fragment.destination(), key.addresses.begin() + 16);
  return key;
}

Reassembly::Datagram& Reassembly::Find(const Packet& fragment, Clock::time_point now,
                                       bool& evicted) {
  const Key key = KeyOf(fragment);
  const auto found = std::ranges::find_if(
      datagrams_, [&](const Datagram& datagram) { return datagram.key == key; });
  if (found != datagrams_.end()) return *found;
  evicted = datagrams_.size() == kMaxDatagrams;
  if (evicted) datagrams_.pop_front();
  Datagram& datagram = datagrams_.emplace_back();
  datagram.key = key;
  datagram.deadline = now + kDeadline;
  const auto header = fragment.whole.first(fragment.v6 ? kIpv6Header : kIpv4Header);
  datagram.header.assign(header.begin(), header.end());
  return datagram;
}

// False if the datagram is to be refused. A piece that is there already, byte for byte, is none.
bool Reassembly::Insert(Datagram& datagram, const Packet& fragment) {
  const Piece piece{fragment.part.offset, fragment.part.offset + fragment.payload.size()};
  if (!fragment.part.more) {
    if (datagram.total != 0 && datagram.total != piece.end) return false;
    datagram.total = piece.end;
  }
  if (datagram.total != 0 && piece.end > datagram.total) return false;
  auto& pieces = datagram.pieces;
  const auto after =
      std::ranges::find_if(pieces, [&](const Piece& other) { return other.end > piece.start; });
  if (after != pieces.end() && after->start < piece.end) {
    return after->start == piece.start && after->end == piece.end &&
           std::ranges::equal(
               fragment.payload,
               std::span(datagram.payload).subspan(piece.start, piece.end - piece.start));
  }
  if (datagram.total != 0 && !pieces.empty() && pieces.back().end > datagram.total) return false;
  if (pieces.size() == kMaxPieces) return false;
  pieces.insert(after, piece);
  datagram.received += piece.end - piece.start;
  if (datagram.payload.size() < piece.end) datagram.payload.resize(piece.end);
  std::ranges::copy(fragment.payload,
                    datagram.payload.begin() + static_cast<ptrdiff_t>(piece.start));
  return true;
}

Reassembly::Added Reassembly::Add(const Packet& fragment, Clock::time_point now) {
  if (!WellFormed(fragment)) return Drop::kMalformed;
  // RFC 6946: a fragment that is the whole datagram has nothing to do with others of its id.
  if (fragment.part.offset == 0 && !fragment.part.more) {
    Datagram alone;
    alone.key = KeyOf(fragment);
    const auto header = fragment.whole.first(fragment.v6 ? kIpv6Header : kIpv4Header);
    alone.header.assign(header.begin(), header.end());
    alone.payload.assign(fragment.payload.begin(), fragment.payload.end());
    return Finish(alone);
  }
  bool evicted = false;
  Datagram& datagram = Find(fragment, now, evicted);
  if (datagram.refused) return Drop::kFragment;
  if (!Insert(datagram, fragment)) {
    datagram.refused = true;  // Remembered until its deadline, without what it held.
    datagram.pieces = {};
    datagram.payload = {};
    return Drop::kFragment;
  }
  if (datagram.total != 0 && datagram.received == datagram.total) {
    const auto whole = Finish(datagram);
    std::erase_if(datagrams_, [&](const Datagram& other) { return &other == &datagram; });
    return whole;
  }
  if (evicted) return Drop::kFragment;
  return std::span<uint8_t>();
}

std::span<uint8_t> Reassembly::Finish(Datagram& datagram) {
  whole_ = std::move(datagram.header);
  whole_.insert(whole_.end(), datagram.payload.begin(), datagram.payload.end());
  if (datagram.key.v6) {
    Store16(&whole_[4], datagram.payload.size());
    whole_[6] = datagram.key.protocol;
    return whole_;
  }
  Store16(&whole_[2], whole_.size());
  Store16(&whole_[6], 0);
  Store16(&whole_[10], 0);
  Checksum checksum;
  checksum.Add(std::span(whole_).first(kIpv4Header));
  Store16(&whole_[10], checksum.Finish());
  return whole_;
}

size_t Reassembly::Expire(Clock::time_point now) {
  size_t expired = 0;
  while (!datagrams_.empty() && datagrams_.front().deadline <= now) {
    expired += datagrams_.front().refused ? 0 : 1;
    datagrams_.pop_front();
  }
  return expired;
}

}  // namespace sallyport::netstack
