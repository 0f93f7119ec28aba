#include "netstack/dhcpv6.h"

#include <algorithm>
#include <array>
#include <optional>

#include "netstack/byte_order.h"
#include "netstack/packet.h"

namespace sallyport::netstack {
namespace {

enum Type : uint8_t {
  kSolicit = 1,
  kAdvertise = 2,
  kRequest = 3,
  kConfirm = 4,
  kRenew = 5,
  kRebind = 6,
  kReply = 7,
  kRelease = 8,
  kDecline = 9,
  kInformationRequest = 11,
};

// Options (RFC 8415, section 21; RFC 3646).
constexpr uint16_t kClientId = 1;
constexpr uint16_t kServerId = 2;
constexpr uint16_t kIaNa = 3;
constexpr uint16_t kIaTa = 4;
constexpr uint16_t kIaAddress = 5;
constexpr uint16_t kStatusCode = 13;
constexpr uint16_t kRapidCommit = 14;
constexpr uint16_t kResolvers = 23;
constexpr uint16_t kIaPd = 25;

constexpr uint16_t kSuccess = 0;
constexpr uint16_t kNoAddressAvailable = 2;
constexpr uint16_t kNotOnLink = 4;
constexpr uint16_t kNoPrefixAvailable = 6;

constexpr size_t kHeader = 4;  // Type and transaction.
constexpr size_t kMaxClientId = 130;
constexpr size_t kIaHeader = 12;  // IAID, T1, T2; a temporary one's has its IAID only.
constexpr size_t kIaTaHeader = 4;
constexpr size_t kAddressSize = 24;  // With its lifetimes.
// A client has one IA an interface and kind; addresses of each are few. Bounds the answer.
constexpr size_t kMaxIas = 8;
constexpr size_t kMaxAddresses = 8;

// The address never changes; a day is what clients are used to.
constexpr uint32_t kLifetimeSeconds = 86400;

using Bytes = std::span<const uint8_t>;

struct Ia {
  uint16_t kind = kIaNa;
  Bytes id;
  std::vector<Bytes> addresses;
};

/// What counts of a message.
struct Question {
  uint8_t type = 0;
  Bytes transaction;
  Bytes client;  // Empty when missing, as the following.
  Bytes server;
  bool rapid = false;
  std::vector<Ia> ias;
};

/// Calls VISIT with the code and the value of each option in BYTES. False if one is cut off, or
/// VISIT says so.
template <class Visit>
bool ForEachOption(Bytes bytes, const Visit& visit) {
  while (!bytes.empty()) {
    if (bytes.size() < 4 || Load16(&bytes[2]) > bytes.size() - 4) return false;
    const size_t size = Load16(&bytes[2]);
    if (!visit(Load16(bytes.data()), bytes.subspan(4, size))) return false;
    bytes = bytes.subspan(4 + size);
  }
  return true;
}

bool ReadIa(uint16_t kind, Bytes value, Question& question) {
  const size_t header = kind == kIaTa ? kIaTaHeader : kIaHeader;
  if (value.size() < header || question.ias.size() == kMaxIas) return false;
  Ia& ia = question.ias.emplace_back();
  ia.kind = kind;
  ia.id = value.first(4);
  return ForEachOption(value.subspan(header), [&](uint16_t code, Bytes option) {
    if (code != kIaAddress) return true;
    if (option.size() < kAddressSize || ia.addresses.size() == kMaxAddresses) return false;
    ia.addresses.push_back(option.first(16));
    return true;
  });
}

std::optional<Question> Read(Bytes message) {
  if (message.size() < kHeader) return std::nullopt;
  Question question;
  question.type = message[0];
  question.transaction = message.subspan(1, 3);
  const bool whole = ForEachOption(message.subspan(kHeader), [&](uint16_t code, Bytes value) {
    switch (code) {
      case kClientId:
        question.client = value;
        return !value.empty() && value.size() <= kMaxClientId;
      case kServerId:
        question.server = value;
        return !value.empty();
      case kRapidCommit:
        question.rapid = true;
        return true;
      case kIaNa:
      case kIaTa:
      case kIaPd:
        return ReadIa(code, value, question);
      default:
        return true;
    }
  });
  if (!whole) return std::nullopt;
  return question;
}

// Which identifiers a message must have, and must not (RFC 8415, section 16).
bool HasItsIdentifiers(const Question& question) {
  const bool client = !question.client.empty();
  const bool server = !question.server.empty();
  switch (question.type) {
    case kSolicit:
    case kConfirm:
    case kRebind:
      return client && !server;
    case kRequest:
    case kRenew:
    case kRelease:
    case kDecline:
      return client && server;
    case kInformationRequest:
      return question.ias.empty();
    default:
      return false;
  }
}

using ServerId = std::array<uint8_t, 10>;

// A DUID based on the gateway's link-layer address (DUID-LL, Ethernet).
ServerId ServerIdOf(const StackOptions& options) {
  ServerId id{0, 3, 0, 1};
  std::ranges::copy(options.gateway_mac, id.begin() + 4);
  return id;
}

class Answer {
 public:
  Answer(const Question& question, uint8_t type, const StackOptions& options) : options_(options) {
    bytes_.push_back(type);
    Append(question.transaction);
    Add(kServerId, ServerIdOf(options));
    if (!question.client.empty()) Add(kClientId, question.client);
  }

  void AddStatus(uint16_t status) {
    std::array<uint8_t, 2> value;
    Store16(value.data(), status);
    Add(kStatusCode, value);
  }
  void AddResolver() { Add(kResolvers, options_.gateway_v6.bytes()); }
  void AddRapidCommit() { Add(kRapidCommit, {}); }

  /// IA with the guest's address, and those of OTHERS that are not it taken back.
  void AddIa(const Ia& ia, std::span<const Bytes> others) {
    const size_t start = BeginIa(ia, kLifetimeSeconds / 2, kLifetimeSeconds / 5 * 4);
    AddAddress(options_.guest_v6.bytes(), kLifetimeSeconds);
    for (const Bytes other : others) {
      if (!SameBytes(other, options_.guest_v6.bytes())) AddAddress(other, 0);
    }
    EndIa(start);
  }

  /// IA with nothing but STATUS.
  void RefuseIa(const Ia& ia, uint16_t status) {
    const size_t start = BeginIa(ia, 0, 0);
    AddStatus(status);
    EndIa(start);
  }

  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  void Append(Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void Append16(size_t value) {
    bytes_.resize(bytes_.size() + 2);
    Store16(&bytes_[bytes_.size() - 2], value);
  }
  void Append32(uint32_t value) {
    bytes_.resize(bytes_.size() + 4);
    Store32(&bytes_[bytes_.size() - 4], value);
  }
  void Add(uint16_t code, Bytes value) {
    Append16(code);
    Append16(value.size());
    Append(value);
  }
  void AddAddress(Bytes address, uint32_t lifetime) {
    Append16(kIaAddress);
    Append16(kAddressSize);
    Append(address);
    Append32(lifetime);  // Preferred,
    Append32(lifetime);  // and valid.
  }
  // Returns where the option's value starts, for EndIa().
  size_t BeginIa(const Ia& ia, uint32_t renew, uint32_t rebind) {
    Append16(ia.kind);
    Append16(0);
    const size_t start = bytes_.size();
    Append(ia.id);
    if (ia.kind == kIaTa) return start;
    Append32(renew);
    Append32(rebind);
    return start;
  }
  void EndIa(size_t start) { Store16(&bytes_[start - 2], bytes_.size() - start); }

  const StackOptions& options_;
  std::vector<uint8_t> bytes_;
};

void AddIas(Answer& answer, const Question& question) {
  const bool renews = question.type == kRenew || question.type == kRebind;
  bool given = false;
  for (const Ia& ia : question.ias) {
    if (ia.kind == kIaPd) {
      answer.RefuseIa(ia, kNoPrefixAvailable);
    } else if (ia.kind == kIaTa || given) {
      answer.RefuseIa(ia, kNoAddressAvailable);
    } else {
      answer.AddIa(ia, renews ? std::span<const Bytes>(ia.addresses) : std::span<const Bytes>());
      given = true;
    }
  }
}

// The status of what a client that came back on the link claims; none if it claims nothing.
std::optional<uint16_t> Confirmed(const Question& question, const StackOptions& options) {
  std::optional<uint16_t> status;
  for (const Ia& ia : question.ias) {
    for (const Bytes address : ia.addresses) {
      if (!SameBytes(address, options.guest_v6.bytes())) return kNotOnLink;
      status = kSuccess;
    }
  }
  return status;
}

}  // namespace

std::variant<std::monostate, std::vector<uint8_t>, Drop> AnswerDhcpv6(
    std::span<const uint8_t> message, const StackOptions& options) {
  const auto question = Read(message);
  if (!question || !HasItsIdentifiers(*question)) return Drop::kMalformed;
  if (!question->server.empty() && !SameBytes(question->server, ServerIdOf(options))) {
    return std::monostate();
  }
  const bool advertises = question->type == kSolicit && !question->rapid;
  Answer answer(*question, advertises ? kAdvertise : kReply, options);
  switch (question->type) {
    case kConfirm: {
      const auto status = Confirmed(*question, options);
      if (!status) return std::monostate();
      answer.AddStatus(*status);
      return answer.Take();
    }
    case kRelease:
    case kDecline:
      answer.AddStatus(kSuccess);
      return answer.Take();
    case kSolicit:
      if (question->rapid) answer.AddRapidCommit();
      break;
    default:
      break;
  }
  AddIas(answer, *question);
  answer.AddResolver();
  return answer.Take();
}

}  // namespace sallyport::netstack
