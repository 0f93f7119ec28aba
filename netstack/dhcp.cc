#include "netstack/dhcp.h"

#include <algorithm>
#include <array>
#include <optional>

#include "netstack/byte_order.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

// The fixed part of a message (RFC 2131, section 2), and the cookie of the options behind it.
constexpr size_t kOp = 0;
constexpr size_t kHardwareType = 1;
constexpr size_t kHardwareLength = 2;
constexpr size_t kFlags = 10;
constexpr size_t kClientAddress = 12;
constexpr size_t kYourAddress = 16;
constexpr size_t kRelayAddress = 24;
constexpr size_t kHardwareAddress = 28;
constexpr size_t kCookie = 236;
constexpr size_t kOptions = 240;
constexpr uint32_t kMagic = 0x63825363;
constexpr size_t kLeastMessage = 300;  // BOOTP's; some clients look.

constexpr uint8_t kRequestOp = 1;
constexpr uint8_t kReplyOp = 2;
constexpr uint8_t kEthernet = 1;
constexpr uint16_t kBroadcastFlag = 0x8000;

enum Type : uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7,
  kInform = 8,
};

// Options (RFC 2132).
constexpr uint8_t kPad = 0;
constexpr uint8_t kSubnetMask = 1;
constexpr uint8_t kRouter = 3;
constexpr uint8_t kResolver = 6;
constexpr uint8_t kInterfaceMtu = 26;
constexpr uint8_t kBroadcast = 28;
constexpr uint8_t kRequestedAddress = 50;
constexpr uint8_t kLeaseTime = 51;
constexpr uint8_t kMessageType = 53;
constexpr uint8_t kServer = 54;
constexpr uint8_t kRenewalTime = 58;
constexpr uint8_t kRebindingTime = 59;
constexpr uint8_t kClientId = 61;
constexpr uint8_t kEnd = 255;

// The address never changes; a day is what clients are used to.
constexpr uint32_t kLeaseSeconds = 86400;

using Address = std::span<const uint8_t>;

/// What counts of a message.
struct Question {
  uint8_t type = 0;
  std::span<const uint8_t> fixed;
  Address requested;  // Empty when missing, as the following.
  Address server;
  std::span<const uint8_t> client_id;

  Address client_address() const { return fixed.subspan(kClientAddress, 4); }
};

std::optional<Question> ReadOptions(std::span<const uint8_t> message) {
  Question question;
  question.fixed = message.first(kOptions);
  for (size_t at = kOptions; at < message.size() && message[at] != kEnd;) {
    const uint8_t code = message[at++];
    if (code == kPad) continue;
    if (at == message.size() || message[at] > message.size() - at - 1) return std::nullopt;
    const auto value = message.subspan(at + 1, message[at]);
    at += 1 + value.size();
    const bool address = value.size() == 4;
    if (code == kMessageType && value.size() == 1) question.type = value[0];
    if (code == kRequestedAddress && address) question.requested = value;
    if (code == kServer && address) question.server = value;
    if (code == kClientId) question.client_id = value;
  }
  return question;
}

std::optional<Question> Read(std::span<const uint8_t> message, const StackOptions& options) {
  if (message.size() < kOptions || Load32(&message[kCookie]) != kMagic) return std::nullopt;
  if (message[kOp] != kRequestOp || message[kHardwareType] != kEthernet ||
      message[kHardwareLength] != options.guest_mac.size() ||
      !SameBytes(message.subspan(kHardwareAddress, 6), options.guest_mac) ||
      !IsUnspecified(message.subspan(kRelayAddress, 4))) {
    return std::nullopt;
  }
  return ReadOptions(message);
}

class Answer {
 public:
  Answer(const Question& question, uint8_t type, const StackOptions& options) : bytes_(kOptions) {
    std::ranges::copy(question.fixed.first(kHardwareAddress + 16), bytes_.begin());
    bytes_[kOp] = kReplyOp;
    std::fill(bytes_.begin() + 8, bytes_.begin() + kFlags, uint8_t{0});
    std::fill(bytes_.begin() + kYourAddress, bytes_.begin() + kRelayAddress, uint8_t{0});
    if (type == kNak) std::fill_n(bytes_.begin() + kClientAddress, 4, uint8_t{0});
    Store32(&bytes_[kCookie], kMagic);
    Add(kMessageType, std::array{type});
    Add(kServer, options.gateway_v4.bytes());
    if (!question.client_id.empty()) Add(kClientId, question.client_id);  // RFC 6842.
  }

  void AddLease(const StackOptions& options) {
    std::ranges::copy(options.guest_v4.bytes(), bytes_.begin() + kYourAddress);
    AddNumber(kLeaseTime, kLeaseSeconds);
    AddNumber(kRenewalTime, kLeaseSeconds / 2);
    AddNumber(kRebindingTime, kLeaseSeconds / 8 * 7);
  }

  void AddNetwork(const StackOptions& options) {
    const auto gateway = options.gateway_v4.bytes();
    const auto guest = options.guest_v4.bytes();
    Add(kSubnetMask, std::array<uint8_t, 4>{255, 255, 255, 0});
    Add(kRouter, gateway);
    Add(kResolver, gateway);
    Add(kBroadcast, std::array<uint8_t, 4>{guest[0], guest[1], guest[2], 255});
    std::array<uint8_t, 2> mtu;
    Store16(mtu.data(), options.mtu);
    Add(kInterfaceMtu, mtu);
  }

  std::vector<uint8_t> Take() {
    bytes_.push_back(kEnd);
    bytes_.resize(std::max(bytes_.size(), kLeastMessage));
    return std::move(bytes_);
  }

 private:
  void Add(uint8_t code, std::span<const uint8_t> value) {
    bytes_.push_back(code);
    bytes_.push_back(static_cast<uint8_t>(value.size()));
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void AddNumber(uint8_t code, uint32_t number) {
    std::array<uint8_t, 4> value;
    Store32(value.data(), number);
    Add(code, value);
  }

  std::vector<uint8_t> bytes_;
};

// Where the client says that its address is, in the state that it is in (RFC 2131, table 4).
Address Claimed(const Question& question) {
  return question.requested.empty() ? question.client_address() : question.requested;
}

uint8_t TypeOfAnswer(const Question& question, const StackOptions& options) {
  switch (question.type) {
    case kDiscover:
      return kOffer;
    case kInform:
      return kAck;
    case kRequest: {
      const bool other =
          !question.server.empty() && !SameBytes(question.server, options.gateway_v4.bytes());
      if (other) return 0;
      return SameBytes(Claimed(question), options.guest_v4.bytes()) ? kAck : kNak;
    }
    default:
      return 0;
  }
}

// RFC 2131, section 4.1.
IpAddress Destination(const Question& question, uint8_t type, const StackOptions& options) {
  const IpAddress everybody = IpAddress::V4(255, 255, 255, 255);
  if (type == kNak) return everybody;
  if (SameBytes(question.client_address(), options.guest_v4.bytes())) return options.guest_v4;
  const bool broadcast = (Load16(&question.fixed[kFlags]) & kBroadcastFlag) != 0;
  return broadcast ? everybody : options.guest_v4;
}

}  // namespace

std::variant<std::monostate, DhcpReply, Drop> AnswerDhcp(std::span<const uint8_t> message,
                                                         const StackOptions& options) {
  const auto question = Read(message, options);
  if (!question || question->type == 0) return Drop::kMalformed;
  const uint8_t type = TypeOfAnswer(*question, options);
  if (type == 0) return std::monostate();
  Answer answer(*question, type, options);
  if (type != kNak) {
    if (question->type != kInform) answer.AddLease(options);
    answer.AddNetwork(options);
  }
  return DhcpReply{answer.Take(), Destination(*question, type, options)};
}

}  // namespace sallyport::netstack
