#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <variant>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/packet.h"
#include "netstack/reassembly.h"

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;

const Clock::time_point kNow{1h};

Bytes Pattern(size_t size) {
  Bytes bytes(size);
  for (size_t at = 0; at < size; ++at) bytes[at] = static_cast<uint8_t>(at * 31 ^ at >> 8);
  return bytes;
}

Bytes Slice(const Bytes& bytes, size_t start, size_t end) {
  return {bytes.begin() + static_cast<ptrdiff_t>(start),
          bytes.begin() + static_cast<ptrdiff_t>(end)};
}

enum class Is { kMissing, kWhole, kMalformed, kRefused };

/// What became of one fragment after the other.
struct Joined {
  explicit Joined(Ip version) : ip(version) {}

  Is Add(const FragmentFields& fields, const Bytes& bytes, uint8_t protocol = kProtocolUdp) {
    Bytes frame = FragmentFrame(Far(ip), protocol, fields, bytes);
    auto parsed = ParseIp(ip == Ip::kV4 ? EtherType::kIpv4 : EtherType::kIpv6,
                          std::span(frame).subspan(kEthernetHeader));
    REQUIRE(std::holds_alternative<Packet>(parsed));
    const auto added = reassembly.Add(std::get<Packet>(parsed), kNow);
    if (const auto* drop = std::get_if<Drop>(&added)) {
      return *drop == Drop::kMalformed ? Is::kMalformed : Is::kRefused;
    }
    const auto packet = std::get<std::span<uint8_t>>(added);
    if (packet.empty()) return Is::kMissing;
    whole.assign(packet.begin(), packet.end());
    return Is::kWhole;
  }
  /// The payload of what was put together, which must be a right packet.
  Bytes Payload() {
    auto parsed = ParseIp(ip == Ip::kV4 ? EtherType::kIpv4 : EtherType::kIpv6, whole);
    REQUIRE(std::holds_alternative<Packet>(parsed));
    const Packet& packet = std::get<Packet>(parsed);
    CHECK_FALSE(packet.fragment);
    CHECK(packet.whole.size() == whole.size());
    return {packet.payload.begin(), packet.payload.end()};
  }

  const Ip ip;
  Reassembly reassembly;
  Bytes whole;
};

TEST_CASE("fragments of any order become what was cut, and so for every two cuts") {
  const Bytes message = Pattern(64);
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    for (size_t first = 8; first < 64; first += 8) {
      for (size_t second = first; second < 64; second += 8) {
        std::vector<std::pair<size_t, size_t>> cuts{{0, first}, {second, 64}};
        if (second > first) cuts.emplace_back(first, second);
        std::ranges::sort(cuts);
        do {
          Joined joined(ip);
          for (size_t i = 0; i < cuts.size(); ++i) {
            const auto [start, end] = cuts[i];
            const Is is =
                joined.Add({.offset = start, .more = end < 64}, Slice(message, start, end));
            CHECK(is == (i + 1 == cuts.size() ? Is::kWhole : Is::kMissing));
          }
          CHECK(joined.Payload() == message);
          CHECK(joined.reassembly.size() == 0);
        } while (std::ranges::next_permutation(cuts).found);
      }
    }
  }
}

TEST_CASE("the largest packet of each version is put together, and nothing larger") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    const size_t largest = ip == Ip::kV4 ? 65'515 : 65'535;
    const Bytes message = Pattern(largest);
    Joined joined(ip);
    for (size_t at = 0; at < largest; at += 1400) {
      const size_t end = std::min(at + 1400, largest);
      const Is is = joined.Add({.offset = at, .more = end < largest}, Slice(message, at, end));
      CHECK(is == (end < largest ? Is::kMissing : Is::kWhole));
    }
    CHECK(joined.Payload() == message);
    CHECK(joined.Add({.offset = 65'512, .more = false}, Bytes(largest - 65'512 + 1)) ==
          Is::kMalformed);
    CHECK(joined.Add({.offset = 65'528, .more = true}, Bytes(8)) == Is::kMalformed);
  }
}

TEST_CASE(
    "a fragment of a size that is no multiple of eight, of nothing, or without ports is "
    "malformed") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Joined joined(ip);
    CHECK(joined.Add({.offset = 0, .more = true}, Bytes(15)) == Is::kMalformed);
    CHECK(joined.Add({.offset = 8, .more = true}, {}) == Is::kMalformed);
    CHECK(joined.Add({.offset = 8, .more = false}, {}) == Is::kMalformed);
    CHECK(joined.Add({.offset = 0, .more = false}, Bytes(7)) == Is::kMalformed);
    CHECK(joined.reassembly.size() == 0);
  }
}

// RFC 5722: also what is still to come.
TEST_CASE("overlapping fragments refuse the datagram, the rest of it included") {
  const Bytes message = Pattern(48);
  struct Other {
    size_t start, end;
  };
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    // Against what is there from 16 to 32.
    for (const Other& other : {Other{8, 24}, Other{24, 40}, Other{16, 24}, Other{24, 32},
                               Other{8, 40}, Other{16, 40}, Other{8, 32}}) {
      Joined joined(ip);
      CHECK(joined.Add({.offset = 16}, Slice(message, 16, 32)) == Is::kMissing);
      CHECK(joined.Add({.offset = other.start}, Slice(message, other.start, other.end)) ==
            Is::kRefused);
      CHECK(joined.Add({.offset = 0}, Slice(message, 0, 16)) == Is::kRefused);
      CHECK(joined.Add({.offset = 16}, Slice(message, 16, 32)) == Is::kRefused);
      CHECK(joined.Add({.offset = 32, .more = false}, Slice(message, 32, 48)) == Is::kRefused);
      // Another datagram is another one.
      CHECK(joined.Add({.id = 78, .offset = 0}, Slice(message, 0, 16)) == Is::kMissing);
    }
  }
}

TEST_CASE("the same fragment again changes nothing, another one in its place refuses") {
  const Bytes message = Pattern(40);
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Joined joined(ip);
    CHECK(joined.Add({.offset = 0}, Slice(message, 0, 16)) == Is::kMissing);
    CHECK(joined.Add({.offset = 0}, Slice(message, 0, 16)) == Is::kMissing);
    CHECK(joined.Add({.offset = 32, .more = false}, Slice(message, 32, 40)) == Is::kMissing);
    CHECK(joined.Add({.offset = 32, .more = false}, Slice(message, 32, 40)) == Is::kMissing);
    CHECK(joined.Add({.offset = 16}, Slice(message, 16, 32)) == Is::kWhole);
    CHECK(joined.Payload() == message);

    CHECK(joined.Add({.offset = 0}, Slice(message, 0, 16)) == Is::kMissing);
    CHECK(joined.Add({.offset = 0}, Bytes(16, 0xee)) == Is::kRefused);
  }
}

TEST_CASE("two ends, or a part behind the end, refuse the datagram") {
  const Bytes message = Pattern(48);
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Joined two(ip);
    CHECK(two.Add({.offset = 32, .more = false}, Slice(message, 32, 40)) == Is::kMissing);
    CHECK(two.Add({.offset = 40, .more = false}, Slice(message, 40, 48)) == Is::kRefused);
    Joined behind(ip);
    CHECK(behind.Add({.offset = 16, .more = false}, Slice(message, 16, 24)) == Is::kMissing);
    CHECK(behind.Add({.offset = 24}, Slice(message, 24, 32)) == Is::kRefused);
    Joined before(ip);
    CHECK(before.Add({.offset = 24}, Slice(message, 24, 32)) == Is::kMissing);
    CHECK(before.Add({.offset = 8, .more = false}, Slice(message, 8, 16)) == Is::kRefused);
  }
}

// RFC 6946.
TEST_CASE("a fragment that is the whole datagram has nothing to do with others of its id") {
  const Bytes message = Pattern(40);
  Joined joined(Ip::kV6);
  CHECK(joined.Add({.offset = 0}, Slice(message, 0, 16)) == Is::kMissing);
  CHECK(joined.Add({.offset = 0, .more = false}, message) == Is::kWhole);
  CHECK(joined.Payload() == message);
  CHECK(joined.Add({.offset = 16, .more = false}, Slice(message, 16, 40)) == Is::kWhole);
  CHECK(joined.Payload() == message);
}

TEST_CASE("so many datagrams and pieces are kept, and no more") {
  const Bytes message = Pattern(16);
  Joined joined(Ip::kV4);
  for (uint32_t id = 0; id < Reassembly::kMaxDatagrams; ++id) {
    CHECK(joined.Add({.id = id, .offset = 0}, Slice(message, 0, 8)) == Is::kMissing);
  }
  CHECK(joined.Add({.id = 100, .offset = 0}, Slice(message, 0, 8)) == Is::kRefused);  // The oldest.
  CHECK(joined.reassembly.size() == Reassembly::kMaxDatagrams);
  CHECK(joined.Add({.id = 100, .offset = 8, .more = false}, Slice(message, 8, 16)) == Is::kWhole);
  CHECK(joined.Add({.id = 0, .offset = 8, .more = false}, Slice(message, 8, 16)) == Is::kMissing);
  CHECK(joined.Add({.id = 1, .offset = 8, .more = false}, Slice(message, 8, 16)) == Is::kWhole);

  Joined pieces(Ip::kV6);
  for (size_t piece = 0; piece < Reassembly::kMaxPieces; ++piece) {
    CHECK(pieces.Add({.offset = 16 * piece}, Bytes(8)) == Is::kMissing);
  }
  CHECK(pieces.Add({.offset = 16 * Reassembly::kMaxPieces}, Bytes(8)) == Is::kRefused);
}

TEST_CASE("what passes its deadline is forgotten, and told if it was not refused before") {
  Joined joined(Ip::kV6);
  CHECK(joined.Add({.id = 1, .offset = 0}, Bytes(8)) == Is::kMissing);
  CHECK(joined.Add({.id = 2, .offset = 0}, Bytes(16)) == Is::kMissing);
  CHECK(joined.Add({.id = 2, .offset = 8}, Bytes(16)) == Is::kRefused);
  CHECK(joined.reassembly.Expire(kNow + Reassembly::kDeadline - 1ms) == 0);
  CHECK(joined.reassembly.size() == 2);
  CHECK(joined.reassembly.Expire(kNow + Reassembly::kDeadline) == 1);
  CHECK(joined.reassembly.size() == 0);
}

TEST_CASE("a Fragment header that is cut off, or before other headers, is refused") {
  const auto drop_of = [](const Bytes& message) {
    Bytes packet = IpPacket(Far(Ip::kV6), kProtocolFragment, message);
    auto parsed = ParseIp(EtherType::kIpv6, packet);
    REQUIRE(std::holds_alternative<Drop>(parsed));
    return std::get<Drop>(parsed);
  };
  CHECK(drop_of(Bytes(7)) == Drop::kMalformed);
  for (const uint8_t next : Bytes{0, 43, 44, 50, 51, 60, 135, 139, 140}) {
    Bytes message(24);
    message[0] = next;
    CHECK(drop_of(message) == Drop::kHeaderOption);
  }
}

// ---- In a stack.

TEST_CASE(
    "fragments of TCP, of neighbour discovery and of what is larger than the MTU are dropped and "
    "counted") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    const Bytes segment =
        TcpMessage(Far(ip), {.source_port = 1, .destination_port = 2, .flags = kSyn});
    net.link->Push(FragmentFrame(Far(ip), kProtocolTcp, {.more = false}, segment));
    net.link->Push(FragmentFrame(Far(ip), 132, {.more = false}, Bytes(16)));
    net.Settle();
    // An IPv4 packet without MF and offset is no fragment.
    if (ip == Ip::kV6) {
      CHECK(net.stack->stats().dropped(Drop::kFragment) == 2);
      CHECK(net.decider.asked.empty());
    }
    const auto before = net.stack->stats().dropped(Drop::kFragment);
    net.link->Push(FragmentFrame(Far(ip), kProtocolTcp, {.offset = 8, .more = false}, segment));
    Bytes solicitation(24);
    solicitation[0] = 135;
    net.link->Push(FragmentFrame(Far(Ip::kV6), kProtocolIcmp6, {.more = true}, solicitation));
    net.Settle();
    CHECK(net.stack->stats().dropped(Drop::kFragment) == before + 2);
    net.link->Push(FragmentFrame(Far(ip), kProtocolUdp, {.more = true}, Bytes(1600)));
    net.Settle();
    CHECK(net.stack->stats().dropped(Drop::kMalformed) == 1);
  }
}

TEST_CASE("fragments from another source or to a group are dropped as whole packets are") {
  Fixture net;
  const IpAddress local = *IpAddress::Parse("fe80::2");
  Bytes frame =
      FragmentFrame(Far(Ip::kV6), kProtocolIcmp6, {.offset = 8, .more = false}, Bytes(16));
  frame[14 + 40 + 8] = 135;  // What looks like a solicitation in a later fragment.
  std::ranges::copy(local.bytes(), frame.begin() + 14 + 8);
  net.link->Push(frame);
  net.Settle();
  CHECK(net.stack->stats().dropped(Drop::kNotForUs) == 1);
  frame[14 + 8] = 0x20;
  net.link->Push(frame);
  net.Settle();
  CHECK(net.stack->stats().dropped(Drop::kSpoofed) == 1);
}

TEST_CASE("a large ping is answered whole") {
  for (const Ip ip : {Ip::kV4, Ip::kV6}) {
    Fixture net;
    const IpAddress gateway = ip == Ip::kV4 ? TestOptions().gateway_v4 : TestOptions().gateway_v6;
    const uint8_t protocol = ip == Ip::kV4 ? kProtocolIcmp : kProtocolIcmp6;
    const Bytes request = EchoRequest(gateway, std::string(4000, 'p'));
    for (const Bytes& frame : Fragments(gateway, protocol, request)) net.link->Push(frame);
    net.Settle();
    REQUIRE(net.seen.size() == 3);
    Bytes answer;
    for (const Seen& seen : net.seen) {
      answer.insert(answer.end(), seen.message.begin(), seen.message.end());
    }
    CHECK(answer.size() == request.size());
    CHECK(std::equal(answer.begin() + 4, answer.end(), request.begin() + 4));
  }
}

TEST_CASE("fragments at random, hostile ones among them, never make more than was sent") {
  std::minstd_rand random(1);
  for (int round = 0; round < 50; ++round) {
    const Ip ip = round % 2 == 0 ? Ip::kV4 : Ip::kV6;
    Joined joined(ip);
    for (int count = 0; count < 200; ++count) {
      const size_t offset = 8 * (random() % 8);
      const bool more = random() % 3 != 0;
      const size_t size = more ? 8 * (1 + random() % 4) : 1 + random() % 20;
      if (joined.Add({.id = static_cast<uint32_t>(random() % 3), .offset = offset, .more = more},
                     Bytes(size)) == Is::kWhole) {
        CHECK(joined.Payload().size() <= 64 + 32);
      }
    }
  }
}

}  // namespace
}  // namespace sallyport::netstack
