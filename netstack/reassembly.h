#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <variant>
#include <vector>

#include "base/loop.h"
#include "netstack/packet.h"
#include "netstack/stack_stats.h"

namespace sallyport::netstack {

/// Puts IP fragments of one guest together: RFC 791 and RFC 8200, section 4.5. Does no I/O and has
/// no clock. Every byte may be hostile:
///
/// - Fragments that overlap, other than by being the same again, make the whole datagram refused,
///   what is still to come of it included (RFC 5722; for IPv4 too, RFC 8900 says why).
/// - A last fragment before others' ends, a size that is no multiple of eight before the end, and
///   more than 65,535 bytes are malformed; so is a first fragment without its transport's ports.
/// - So many datagrams are under way at once, the oldest gives way; each has a deadline.
class Reassembly {
 public:
  /// Of what RFC 8200 allows at most (60 seconds) half; Linux does the same for IPv4.
  static constexpr std::chrono::seconds kDeadline{30};
  /// Each with at most 65,535 bytes: 1 MiB, and 8 KiB of where its pieces are.
  static constexpr size_t kMaxDatagrams = 16;
  /// The largest datagram takes 54 in the least MTU.
  static constexpr size_t kMaxPieces = 128;

  /// A whole IP packet, without a Fragment header, whose lengths and IPv4 checksum are right; good
  /// until the next call. Empty: there are parts missing.
  using Added = std::variant<std::span<uint8_t>, Drop>;

  /// Takes FRAGMENT (Packet::fragment is set). One that was there already is ignored.
  Added Add(const Packet& fragment, Clock::time_point now);

  /// Forgets what has passed its deadline at NOW, and returns how many datagrams that were not
  /// refused; before each Add() that comes later.
  size_t Expire(Clock::time_point now);
  size_t size() const { return datagrams_.size(); }

 private:
  struct Key {
    bool v6 = false;
    uint8_t protocol = 0;
    uint32_t id = 0;
    std::array<uint8_t, 32> addresses{};
    bool operator==(const Key&) const = default;
  };
  struct Piece {
    size_t start = 0;
    size_t end = 0;
  };
  struct Datagram {
    Key key;
    Clock::time_point deadline;
    bool refused = false;
    size_t total = 0;  // Of the payload; 0 while the last fragment is missing.
    size_t received = 0;
    std::vector<Piece> pieces;    // In order, apart.
    std::vector<uint8_t> header;  // Of the first fragment that came.
    std::vector<uint8_t> payload;
  };

  static Key KeyOf(const Packet& fragment);
  Datagram& Find(const Packet& fragment, Clock::time_point now, bool& evicted);
  static bool Insert(Datagram& datagram, const Packet& fragment);
  std::span<uint8_t> Finish(Datagram& datagram);

  std::deque<Datagram> datagrams_;  // Oldest first.
  std::vector<uint8_t> whole_;
};

}  // namespace sallyport::netstack
