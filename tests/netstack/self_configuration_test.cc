#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <variant>

#include "fixture.h"
#include "netstack/byte_order.h"
#include "netstack/checksum.h"
#include "netstack/dhcp.h"
#include "netstack/dhcpv6.h"
#include "netstack/packet.h"
#include "netstack/router_advertisement.h"

// Conversations with a guest that knows nothing of its network.

namespace sallyport::netstack {
namespace {

using namespace std::chrono_literals;

StackOptions Options() {
  StackOptions options = TestOptions();
  options.configure_guest = true;
  return options;
}

void Append(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// ---- DHCP.

constexpr uint8_t kGuest[] = {10, 0, 2, 15};

/// A message as RFC 2131's figure 1 has it.
struct Dhcp {
  uint8_t type = 1;
  Bytes options{};
  Bytes ciaddr{0, 0, 0, 0};
  uint16_t flags = 0;

  Bytes Message() const {
    Bytes message{1,
                  1,
                  6,
                  0,  // A request, Ethernet, six bytes of address, no hops;
                  0x39,
                  0x03,
                  0xf3,
                  0x26,  // its transaction,
                  0,
                  7,  // seven seconds since it began.
                  static_cast<uint8_t>(flags >> 8),
                  static_cast<uint8_t>(flags)};
    Append(message, ciaddr);
    message.resize(28);
    Append(message, {2, 0, 0, 0, 0, 2});  // The card's address.
    message.resize(236);
    Append(message, {0x63, 0x82, 0x53, 0x63, 53, 1, type});
    Append(message, options);
    message.push_back(255);
    return message;
  }
};

/// A reply, taken apart.
struct DhcpSeen {
  Bytes fixed;
  std::map<uint8_t, Bytes> options;
  IpAddress destination;
  uint8_t type() const { return options.at(53).at(0); }
  Bytes yiaddr() const { return {fixed.begin() + 16, fixed.begin() + 20}; }
};

std::optional<DhcpSeen> Ask(const Dhcp& dhcp) {
  const auto answer = AnswerDhcp(dhcp.Message(), Options());
  REQUIRE_FALSE(std::holds_alternative<Drop>(answer));
  const auto* reply = std::get_if<DhcpReply>(&answer);
  if (reply == nullptr) return std::nullopt;
  const Bytes& message = reply->message;
  REQUIRE(message.size() >= 300);
  CHECK(message[0] == 2);
  CHECK(std::equal(message.begin() + 4, message.begin() + 8, dhcp.Message().begin() + 4));
  CHECK(std::equal(message.begin() + 28, message.begin() + 44, dhcp.Message().begin() + 28));
  DhcpSeen seen{{message.begin(), message.begin() + 236}, {}, reply->destination};
  REQUIRE(Load32(&message[236]) == 0x63825363);
  for (size_t at = 240; message.at(at) != 255; at += 2 + message[at + 1]) {
    const auto value = message.begin() + static_cast<ptrdiff_t>(at + 2);
    seen.options[message[at]] = {value, value + message[at + 1]};
  }
  return seen;
}

TEST_CASE("a discover is offered the guest's address, and all that it needs") {
  const auto seen = Ask({.type = 1, .options = {61, 7, 1, 2, 0, 0, 0, 0, 2, 55, 2, 1, 3}});
  REQUIRE(seen);
  CHECK(seen->type() == 2);
  CHECK(seen->yiaddr() == Bytes(std::begin(kGuest), std::end(kGuest)));
  CHECK(seen->options.at(54) == Bytes{10, 0, 2, 2});          // The server,
  CHECK(seen->options.at(1) == Bytes{255, 255, 255, 0});      // mask,
  CHECK(seen->options.at(3) == Bytes{10, 0, 2, 2});           // router,
  CHECK(seen->options.at(6) == Bytes{10, 0, 2, 2});           // resolver,
  CHECK(seen->options.at(26) == Bytes{0x05, 0xdc});           // MTU,
  CHECK(seen->options.at(28) == Bytes{10, 0, 2, 255});        // broadcast,
  CHECK(seen->options.at(51) == Bytes{0, 1, 0x51, 0x80});     // a day,
  CHECK(seen->options.at(58) == Bytes{0, 0, 0xa8, 0xc0});     // half of it,
  CHECK(seen->options.at(59) == Bytes{0, 1, 0x27, 0x50});     // seven eighths;
  CHECK(seen->options.at(61) == Bytes{1, 2, 0, 0, 0, 0, 2});  // and who it is (RFC 6842).
  CHECK(seen->destination == IpAddress::V4(10, 0, 2, 15));
  CHECK(Ask({.type = 1, .flags = 0x8000})->destination == IpAddress::V4(255, 255, 255, 255));
}

// RFC 2131, section 4.3.2 and table 4.
TEST_CASE("a request is granted or refused by what it claims, in every state of a client") {
  const Bytes ours{50, 4, 10, 0, 2, 15};
  const Bytes other{50, 4, 192, 168, 0, 9};
  const auto with_server = [](Bytes options, uint8_t last) {
    Append(options, {54, 4, 10, 0, 2, last});
    return options;
  };
  // Selecting: the offer of this server, or of another one.
  CHECK(Ask({.type = 3, .options = with_server(ours, 2)})->type() == 5);
  CHECK(Ask({.type = 3, .options = with_server(other, 2)})->type() == 6);
  CHECK_FALSE(Ask({.type = 3, .options = with_server(ours, 3)}));
  // Init-reboot: what it had before, here or on another network.
  CHECK(Ask({.type = 3, .options = ours})->type() == 5);
  const auto refused = Ask({.type = 3, .options = other});
  CHECK(refused->type() == 6);
  CHECK(refused->yiaddr() == Bytes(4));
  CHECK(refused->options.count(51) == 0);
  CHECK(refused->destination == IpAddress::V4(255, 255, 255, 255));
  // Renewing and rebinding.
  const auto renewed = Ask({.type = 3, .ciaddr = {10, 0, 2, 15}});
  CHECK(renewed->type() == 5);
  CHECK(renewed->options.count(51) == 1);
  CHECK(renewed->destination == IpAddress::V4(10, 0, 2, 15));
  CHECK(Ask({.type = 3, .ciaddr = {10, 0, 2, 16}})->type() == 6);
  CHECK(Ask({.type = 3})->type() == 6);
}

TEST_CASE("an inform is told of the network without a lease; a release and a decline of nothing") {
  const auto seen = Ask({.type = 8, .ciaddr = {10, 0, 2, 15}});
  REQUIRE(seen);
  CHECK(seen->type() == 5);
  CHECK(seen->yiaddr() == Bytes(4));
  CHECK(seen->options.count(51) == 0);
  CHECK(seen->options.at(3) == Bytes{10, 0, 2, 2});
  for (const uint8_t type : Bytes{4, 7, 2, 5, 6, 9, 255}) CHECK_FALSE(Ask({.type = type}));
}

TEST_CASE("a DHCP message that breaks its format, or is another card's, is dropped") {
  const auto dropped = [](const Bytes& message) {
    return std::holds_alternative<Drop>(AnswerDhcp(message, Options()));
  };
  const Bytes good = Dhcp{}.Message();
  CHECK_FALSE(dropped(good));
  for (size_t size = 0; size < 243; ++size)
    CHECK(dropped(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size))));
  for (const size_t at : {0U, 1U, 2U, 24U, 28U, 33U, 236U, 239U}) {
    CAPTURE(at);
    Bytes wrong = good;
    wrong[at] ^= 0x40;
    CHECK(dropped(wrong));
  }
  CHECK(dropped(Dhcp{.type = 1, .options = {50, 200, 1}}.Message()));
  CHECK(dropped(Dhcp{.type = 0}.Message()));
  Bytes unending = good;
  unending.back() = 12;
  CHECK(dropped(unending));
  unending.back() = 0;
  CHECK_FALSE(dropped(unending));
}

// ---- Router advertisements.

TEST_CASE("an advertisement names router, MTU, prefix and resolver (RFC 4861, 4.2; RFC 8106)") {
  const Bytes expected{
      134,  0, 0,    0,    64, 0xc0, 0x07, 0x08, 0, 0, 0,    0,    0, 0, 0, 0,  // M, O, 1,800 s.
      1,    1, 2,    0,    0,  0,    0,    1,                                   // The router's MAC.
      5,    1, 0,    0,    0,  0,    0x05, 0xdc,                                // MTU 1500.
      3,    4, 64,   0x80, 0,  0x27, 0x8d, 0,    0, 9, 0x3a, 0x80, 0, 0, 0, 0,  // On the link:
      0xfd, 0, 0x5a, 0x11, 0,  0,    0,    0,    0, 0, 0,    0,    0, 0, 0, 0,  // fd00:5a11::/64.
      25,   3, 0,    0,    0,  0,    0x07, 0x08,                                // The resolver:
      0xfd, 0, 0x5a, 0x11, 0,  0,    0,    0,    0, 0, 0,    0,    0, 0, 0, 2,  // fd00:5a11::2.
  };
  CHECK(RouterAdvertisement(TestOptions()) == expected);
  StackOptions own = TestOptions();
  own.guest_v6 = *IpAddress::Parse("fd00:5a11::ff:fe00:2");  // As the guest's card makes it.
  CHECK(RouterAdvertisement(own)[16 + 8 + 8 + 3] == 0xc0);
  CHECK(LinkLocalOf({2, 0, 0, 0, 0, 1}).ToString() == "fe80::ff:fe00:1");
}

TEST_CASE("a router solicitation whose options are cut off is none") {
  const Bytes bare{133, 0, 0, 0, 0, 0, 0, 0};
  CHECK(IsRouterSolicitation(bare));
  Bytes with_mac = bare;
  Append(with_mac, {1, 1, 2, 0, 0, 0, 0, 2});
  CHECK(IsRouterSolicitation(with_mac));
  for (size_t size = 0; size < with_mac.size(); ++size) {
    if (size != 8) CHECK_FALSE(IsRouterSolicitation(std::span(with_mac).first(size)));
  }
  with_mac[9] = 0;
  CHECK_FALSE(IsRouterSolicitation(with_mac));
}

// ---- DHCPv6.

const Bytes kClientId{0, 3, 0, 1, 2, 0, 0, 0, 0, 2};
const Bytes kServerId{0, 3, 0, 1, 2, 0, 0, 0, 0, 1};

Bytes Option(uint16_t code, const Bytes& value) {
  Bytes option(4);
  Store16(&option[0], code);
  Store16(&option[2], value.size());
  Append(option, value);
  return option;
}

Bytes AddressOption(const IpAddress& address, uint32_t lifetime = 0) {
  Bytes value(address.bytes().begin(), address.bytes().end());
  value.resize(24);
  Store32(&value[16], lifetime);
  Store32(&value[20], lifetime);
  return Option(5, value);
}

/// An IA of KIND with the id 1 2 3 NUMBER, and what it holds.
Bytes Ia(uint16_t kind, uint8_t number, const Bytes& inside = {}) {
  Bytes value{1, 2, 3, number};
  if (kind != 4) value.resize(12);
  Append(value, inside);
  return Option(kind, value);
}

Bytes Message6(uint8_t type, const std::vector<Bytes>& options) {
  Bytes message{type, 0xaa, 0xbb, 0xcc};
  for (const Bytes& option : options) Append(message, option);
  return message;
}

enum class Heard { kReply, kNothing, kDrop };

struct Answer6 {
  Heard heard = Heard::kNothing;
  uint8_t type = 0;
  Bytes rest;  // Behind type and transaction.
};

Answer6 Ask6(const Bytes& message) {
  const auto answer = AnswerDhcpv6(message, Options());
  if (std::holds_alternative<Drop>(answer)) return {.heard = Heard::kDrop, .rest = {}};
  const auto* reply = std::get_if<Bytes>(&answer);
  if (reply == nullptr) return {};
  REQUIRE(reply->size() >= 4);
  CHECK(Bytes(reply->begin() + 1, reply->begin() + 4) == Bytes{0xaa, 0xbb, 0xcc});
  return {Heard::kReply, reply->at(0), Bytes(reply->begin() + 4, reply->end())};
}

bool Contains(const Bytes& in, const Bytes& what) {
  return std::search(in.begin(), in.end(), what.begin(), what.end()) != in.end();
}

const Bytes kClient = Option(1, kClientId);
const Bytes kServer = Option(2, kServerId);

/// The gateway, as it is named.
Bytes Resolver() {
  const IpAddress gateway = TestOptions().gateway_v6;
  return Option(23, Bytes(gateway.bytes().begin(), gateway.bytes().end()));
}

/// IA_NA with the guest's address for a day, as it is answered.
Bytes Granted(uint8_t number, const Bytes& more = {}) {
  Bytes value{1, 2, 3, number, 0, 0, 0xa8, 0xc0, 0, 1, 0x0e, 0};  // Half, and four fifths.
  Append(value, AddressOption(TestOptions().guest_v6, 86400));
  Append(value, more);
  return Option(3, value);
}

TEST_CASE("a solicit is advertised the guest's address, a request gets it, a rapid one at once") {
  Bytes expected = kServer;
  Append(expected, kClient);
  Append(expected, Granted(9));
  Append(expected, Resolver());
  const Answer6 advertised = Ask6(Message6(1, {kClient, Ia(3, 9), Option(6, {0, 23})}));
  CHECK(advertised.type == 2);
  CHECK(advertised.rest == expected);
  const Answer6 granted = Ask6(Message6(3, {kClient, kServer, Ia(3, 9)}));
  CHECK(granted.type == 7);
  CHECK(granted.rest == expected);
  const Answer6 rapid = Ask6(Message6(1, {kClient, Option(14, {}), Ia(3, 9)}));
  CHECK(rapid.type == 7);
  CHECK(Contains(rapid.rest, Option(14, {})));
  CHECK(Contains(rapid.rest, Granted(9)));
}

TEST_CASE("there is one address, no temporary one, and no prefix") {
  const Answer6 answer = Ask6(Message6(1, {kClient, Ia(3, 1), Ia(3, 2), Ia(4, 3), Ia(25, 4)}));
  CHECK(Contains(answer.rest, Granted(1)));
  Bytes none{1, 2, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0};
  Append(none, Option(13, {0, 2}));
  CHECK(Contains(answer.rest, Option(3, none)));
  Bytes temporary{1, 2, 3, 3};
  Append(temporary, Option(13, {0, 2}));
  CHECK(Contains(answer.rest, Option(4, temporary)));
  Bytes prefix{1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0};
  Append(prefix, Option(13, {0, 6}));
  CHECK(Contains(answer.rest, Option(25, prefix)));
}

TEST_CASE("a renewal keeps the address, and takes back one that is not the guest's") {
  const IpAddress stale = *IpAddress::Parse("2001:db8::9");
  for (const uint8_t type : Bytes{5, 6}) {
    std::vector<Bytes> options{kClient, Ia(3, 9, AddressOption(stale, 100))};
    if (type == 5) options.push_back(kServer);
    const Answer6 answer = Ask6(Message6(type, options));
    CHECK(answer.type == 7);
    CHECK(Contains(answer.rest, Granted(9, AddressOption(stale, 0))));
  }
}

TEST_CASE("a client that comes back is told whether its address is still right") {
  const auto confirm = [](const IpAddress& address) {
    return Ask6(Message6(4, {kClient, Ia(3, 9, AddressOption(address))})).rest;
  };
  CHECK(Contains(confirm(TestOptions().guest_v6), Option(13, {0, 0})));
  CHECK(Contains(confirm(*IpAddress::Parse("2001:db8::9")), Option(13, {0, 4})));
  CHECK(Ask6(Message6(4, {kClient, Ia(3, 9)})).heard == Heard::kNothing);
  for (const uint8_t type : Bytes{8, 9}) {
    const Answer6 answer = Ask6(Message6(type, {kClient, kServer, Ia(3, 9)}));
    CHECK(answer.type == 7);
    CHECK(Contains(answer.rest, Option(13, {0, 0})));
  }
}

TEST_CASE("who configures its address itself is told the resolver") {
  const Answer6 answer = Ask6(Message6(11, {}));
  CHECK(answer.type == 7);
  CHECK_FALSE(Contains(answer.rest, kClient));
  CHECK(Contains(answer.rest, Resolver()));
  CHECK(Contains(Ask6(Message6(11, {kClient})).rest, kClient));
}

// RFC 8415, section 16.
TEST_CASE(
    "a message without its identifiers, or with one too many, is dropped; another server's is not "
    "ours") {
  const Bytes other = Option(2, {0, 3, 0, 1, 9, 9, 9, 9, 9, 9});
  for (const uint8_t type : Bytes{1, 4, 6}) {
    CHECK(Ask6(Message6(type, {Ia(3, 9)})).heard == Heard::kDrop);
    CHECK(Ask6(Message6(type, {kClient, kServer, Ia(3, 9)})).heard == Heard::kDrop);
  }
  for (const uint8_t type : Bytes{3, 5, 8, 9}) {
    CHECK(Ask6(Message6(type, {kClient, Ia(3, 9)})).heard == Heard::kDrop);
    CHECK(Ask6(Message6(type, {kServer, Ia(3, 9)})).heard == Heard::kDrop);
    CHECK(Ask6(Message6(type, {kClient, other, Ia(3, 9)})).heard == Heard::kNothing);
  }
  CHECK(Ask6(Message6(11, {kClient, Ia(3, 9)})).heard == Heard::kDrop);
  CHECK(Ask6(Message6(11, {other})).heard == Heard::kNothing);
  for (const uint8_t type : Bytes{0, 2, 7, 10, 12, 13, 255}) {
    CHECK(Ask6(Message6(type, {kClient})).heard == Heard::kDrop);
  }
}

TEST_CASE(
    "a DHCPv6 message that is cut anywhere but between options, or has too many, is dropped") {
  const Bytes good = Message6(1, {kClient, Ia(3, 9, AddressOption(TestOptions().guest_v6))});
  const size_t behind_client = 4 + kClient.size();
  for (size_t size = 0; size < good.size(); ++size) {
    CAPTURE(size);
    const auto heard = Ask6(Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(size))).heard;
    CHECK(heard == (size == behind_client ? Heard::kReply : Heard::kDrop));
  }
  Bytes inside = good;
  inside[behind_client + 4 + 12 + 3] = 25;  // The address's option is longer than its IA.
  CHECK(Ask6(inside).heard == Heard::kDrop);
  const auto many = [](size_t ias, size_t addresses) {
    Bytes held;
    for (size_t i = 0; i < addresses; ++i)
      Append(held, AddressOption(IpAddress::V6(std::array<uint8_t, 16>{})));
    std::vector<Bytes> options{kClient};
    for (size_t i = 0; i < ias; ++i) options.push_back(Ia(3, static_cast<uint8_t>(i), held));
    return Ask6(Message6(1, options)).heard;
  };
  CHECK(many(8, 8) == Heard::kReply);
  CHECK(many(9, 1) == Heard::kDrop);
  CHECK(many(1, 9) == Heard::kDrop);
  CHECK(Ask6(Message6(1, {Option(1, Bytes(131))})).heard == Heard::kDrop);
  CHECK(Ask6(Message6(1, {Option(1, {})})).heard == Heard::kDrop);
}

// ---- In a stack.

/// MESSAGE over UDP, from SOURCE.
Bytes UdpFrame(const Endpoint& source, const Endpoint& destination, const Bytes& message) {
  Bytes udp(8);
  Store16(&udp[0], source.port);
  Store16(&udp[2], destination.port);
  Store16(&udp[4], 8 + message.size());
  Append(udp, message);
  Checksum checksum;
  checksum.AddPseudoHeader(source.address.bytes(), destination.address.bytes(), kProtocolUdp,
                           udp.size());
  checksum.Add(udp);
  Store16(&udp[6], checksum.Finish());
  Bytes frame = IpFrame(destination.address, kProtocolUdp, udp, source.address);
  std::fill_n(frame.begin(), 6, uint8_t{0xff});
  return frame;
}

const Endpoint kNobody{IpAddress(), 68};
const Endpoint kEverybody{IpAddress::V4(255, 255, 255, 255), 67};
const Endpoint kLocal6{*IpAddress::Parse("fe80::ff:fe00:2"), 546};
const Endpoint kServers6{*IpAddress::Parse("ff02::1:2"), 547};

Bytes SolicitationFrame(const IpAddress& source, uint8_t hop_limit = 255) {
  const IpAddress routers = *IpAddress::Parse("ff02::2");
  Bytes message{133, 0, 0, 0, 0, 0, 0, 0};
  Checksum checksum;
  checksum.AddPseudoHeader(source.bytes(), routers.bytes(), kProtocolIcmp6, message.size());
  checksum.Add(message);
  Store16(&message[2], checksum.Finish());
  Bytes frame = IpFrame(routers, kProtocolIcmp6, message, source);
  frame[14 + 7] = hop_limit;
  frame[0] = 0x33;
  return frame;
}

TEST_CASE("a guest without an address is answered, and nobody is asked about it") {
  Fixture net(Options());
  net.link->Push(UdpFrame(kNobody, kEverybody, Dhcp{}.Message()));
  net.link->Push(UdpFrame(kLocal6, kServers6, Message6(1, {kClient, Ia(3, 9)})));
  net.link->Push(SolicitationFrame(IpAddress::V6(std::array<uint8_t, 16>{})));
  net.link->Push(SolicitationFrame(kLocal6.address));
  net.Settle();
  REQUIRE(net.seen.size() == 4);
  CHECK(net.seen[0].source == TestOptions().gateway_v4);
  CHECK(net.seen[0].source_port == 67);
  CHECK(net.seen[0].destination_port == 68);
  CHECK(net.seen[1].source.ToString() == "fe80::ff:fe00:1");
  CHECK(net.seen[1].destination == kLocal6.address);
  CHECK(net.seen[1].destination_port == 546);
  CHECK(net.seen[2].source.ToString() == "fe80::ff:fe00:1");
  CHECK(net.seen[2].destination.ToString() == "ff02::1");
  CHECK(net.seen[2].message[0] == 134);
  CHECK(net.decider.asked.empty());
}

TEST_CASE("a guest that was advertised to is advertised to again before its route ends") {
  ManualClock clock;
  Fixture net(Options(), &clock);
  net.Pass(clock, 700s);
  CHECK(net.seen.empty());
  net.link->Push(SolicitationFrame(kLocal6.address));
  net.Settle();
  CHECK(net.seen.size() == 1);
  net.Pass(clock, 1801s);
  CHECK(net.seen.size() == 4);
  net.stack.reset();
}

TEST_CASE("without configure_guest nobody answers") {
  Fixture net;
  net.link->Push(UdpFrame(kNobody, kEverybody, Dhcp{}.Message()));
  net.link->Push(UdpFrame(kLocal6, kServers6, Message6(1, {kClient, Ia(3, 9)})));
  net.link->Push(SolicitationFrame(kLocal6.address));
  net.Settle();
  CHECK(net.seen.empty());
  CHECK(net.stack->stats().dropped(Drop::kSpoofed) == 1);
  CHECK(net.stack->stats().dropped(Drop::kNotForUs) == 2);
}

TEST_CASE("what asks for a configuration wrongly is dropped and counted") {
  Fixture net(Options());
  const auto drops = [&](Drop reason) { return net.stack->stats().dropped(reason); };
  Bytes sum = UdpFrame(kNobody, kEverybody, Dhcp{}.Message());
  sum.back() ^= 1;
  net.link->Push(sum);
  net.Settle();
  CHECK(drops(Drop::kChecksum) == 1);
  net.link->Push(UdpFrame(kNobody, kEverybody, Bytes(20)));
  net.link->Push(UdpFrame(kLocal6, kServers6, Bytes(3)));
  net.link->Push(SolicitationFrame(kLocal6.address, 64));
  net.Settle();
  CHECK(drops(Drop::kMalformed) == 3);
  net.link->Push(UdpFrame({IpAddress::V4(10, 0, 2, 77), 68}, kEverybody, Dhcp{}.Message()));
  net.link->Push(UdpFrame({*IpAddress::Parse("2001:db8::1"), 546}, kServers6, Message6(11, {})));
  net.link->Push(UdpFrame({IpAddress(), 69}, kEverybody, Dhcp{}.Message()));
  net.Settle();
  CHECK(drops(Drop::kSpoofed) == 3);
  CHECK(net.seen.empty());
}

}  // namespace
}  // namespace sallyport::netstack
