#include "capture_reader.h"

#include <algorithm>
#include <utility>

namespace sallyport::netstack {
namespace {

constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kSimplePacket = 3;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint32_t kByteOrder = 0x1a2b3c4d;
constexpr uint32_t kPcapMicroseconds = 0xa1b2c3d4;
constexpr uint32_t kPcapNanoseconds = 0xa1b23c4d;
constexpr uint32_t kEthernet = 1;
constexpr size_t kMaxInterfaces = 256;
constexpr size_t kMaxKept = 256 * 1024;  // Of one frame; tcpdump's own bound.

enum class Order { kLittle, kBig };

tl::unexpected<Error> Broken(const char* what) {
  return Fail(Code::kInvalid, std::string("capture: ") + what);
}

/// Bytes that are taken from the front. After one was missing everything is zero.
class Cursor {
 public:
  Cursor(std::span<const uint8_t> bytes, Order order) : bytes_(bytes), order_(order) {}
  std::span<const uint8_t> Take(size_t size) {
    if (size > bytes_.size()) {
      missed_ = true;
      bytes_ = {};
      return {};
    }
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  uint32_t Number(size_t size) {
    const auto taken = Take(size);
    uint32_t value = 0;
    for (size_t i = 0; i < taken.size(); ++i) {
      const size_t at = order_ == Order::kBig ? i : taken.size() - 1 - i;
      value = value << 8 | taken[at];
    }
    return value;
  }
  uint16_t Take16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t Take32() { return Number(4); }
  bool missed() const { return missed_; }
  size_t left() const { return bytes_.size(); }
  std::span<const uint8_t> rest() const { return bytes_; }

 private:
  std::span<const uint8_t> bytes_;
  const Order order_;
  bool missed_ = false;
};

Result<std::vector<CapturedFrame>> ReadPcap(std::span<const uint8_t> capture, Order order,
                                            uint64_t tick_ns) {
  Cursor in(capture.subspan(4), order);
  in.Take(16);  // Version, time zone, accuracy, snapshot length.
  if (in.Take32() != kEthernet || in.missed()) return Broken("not of an Ethernet link");
  std::vector<CapturedFrame> frames;
  while (in.left() > 0) {
    CapturedFrame& frame = frames.emplace_back();
    const uint64_t seconds = in.Take32();
    frame.time_ns = seconds * 1'000'000'000 + in.Take32() * tick_ns;
    const size_t kept = in.Take32();
    in.Take32();  // On the wire.
    if (kept > kMaxKept) return Broken("a frame that no link carries");
    const auto bytes = in.Take(kept);
    if (in.missed()) return Broken("cut off");
    frame.bytes.assign(bytes.begin(), bytes.end());
  }
  return frames;
}

class PcapngReader {
 public:
  explicit PcapngReader(std::span<const uint8_t> capture) : rest_(capture) {}

  Result<std::vector<CapturedFrame>> Read() {
    while (!rest_.empty()) {
      if (auto status = ReadBlock(); !status) return tl::unexpected(std::move(status).error());
    }
    return std::move(frames_);
  }

 private:
  struct Interface {
    bool ethernet = false;
    uint64_t ticks_per_second = 1'000'000;
  };

  Status ReadBlock();
  Status ReadSection(std::span<const uint8_t> body);
  Status ReadInterface(std::span<const uint8_t> body);
  Status ReadEnhanced(std::span<const uint8_t> body);
  Status ReadSimple(std::span<const uint8_t> body);
  template <class Visit>
  Status ReadOptions(Cursor& in, const Visit& visit);

  std::span<const uint8_t> rest_;
  Order order_ = Order::kLittle;
  std::vector<Interface> interfaces_;
  std::vector<CapturedFrame> frames_;
};

Status PcapngReader::ReadBlock() {
  if (rest_.size() < 12) return Broken("a block that is cut off");
  // The type of a section's header reads the same either way, and it says which way is right.
  if (Cursor(rest_, Order::kLittle).Take32() == kSectionHeader) {
    const uint32_t magic = Cursor(rest_.subspan(8), Order::kLittle).Take32();
    order_ = magic == kByteOrder ? Order::kLittle : Order::kBig;
  }
  Cursor in(rest_, order_);
  const uint32_t type = in.Take32();
  const size_t length = in.Take32();
  if (length < 12 || length % 4 != 0 || length > rest_.size()) return Broken("a block's length");
  if (Cursor(rest_.subspan(length - 4), order_).Take32() != length) {
    return Broken("a block's second length");
  }
  const auto body = rest_.subspan(8, length - 12);
  rest_ = rest_.subspan(length);
  switch (type) {
    case kSectionHeader:
      return ReadSection(body);
    case kInterfaceDescription:
      return ReadInterface(body);
    case kEnhancedPacket:
      return ReadEnhanced(body);
    case kSimplePacket:
      return ReadSimple(body);
    default:
      return {};
  }
}

Status PcapngReader::ReadSection(std::span<const uint8_t> body) {
  Cursor in(body, order_);
  if (in.Take32() != kByteOrder) return Broken("a section's byte order");
  if (in.Take16() != 1 || in.missed()) return Broken("a section's version");
  interfaces_.clear();
  return {};
}

template <class Visit>
Status PcapngReader::ReadOptions(Cursor& in, const Visit& visit) {
  while (in.left() > 0) {
    const uint16_t code = in.Take16();
    const size_t size = in.Take16();
    if (code == 0) break;
    const auto value = in.Take(size);
    in.Take((4 - size % 4) % 4);
    if (in.missed()) return Broken("an option that is cut off");
    visit(code, value);
  }
  return {};
}

Status PcapngReader::ReadInterface(std::span<const uint8_t> body) {
  Cursor in(body, order_);
  Interface interface;
  interface.ethernet = in.Take16() == kEthernet;
  in.Take(6);
  if (in.missed() || interfaces_.size() == kMaxInterfaces) return Broken("an interface");
  auto status = ReadOptions(in, [&](uint16_t code, std::span<const uint8_t> value) {
    if (code != 9 || value.size() != 1) return;
    const bool binary = (value[0] & 0x80) != 0;
    const unsigned power = std::min<unsigned>(value[0] & 0x7f, binary ? 30 : 9);
    interface.ticks_per_second = 1;
    for (unsigned i = 0; i < power; ++i) interface.ticks_per_second *= binary ? 2 : 10;
  });
  interfaces_.push_back(interface);
  return status;
}

Status PcapngReader::ReadEnhanced(std::span<const uint8_t> body) {
  Cursor in(body, order_);
  const size_t number = in.Take32();
  uint64_t ticks = uint64_t{in.Take32()} << 32;
  ticks |= in.Take32();
  const size_t kept = in.Take32();
  in.Take32();  // On the wire.
  if (number >= interfaces_.size()) return Broken("a frame of no interface");
  if (kept > kMaxKept) return Broken("a frame that no link carries");
  const auto bytes = in.Take(kept);
  in.Take((4 - kept % 4) % 4);
  if (in.missed()) return Broken("a frame that is cut off");
  const Interface& interface = interfaces_[number];
  CapturedFrame frame;
  frame.time_ns = ticks / interface.ticks_per_second * 1'000'000'000 +
                  ticks % interface.ticks_per_second * 1'000'000'000 / interface.ticks_per_second;
  frame.bytes.assign(bytes.begin(), bytes.end());
  auto status = ReadOptions(in, [&](uint16_t code, std::span<const uint8_t> value) {
    if (code == 1) frame.comment.assign(value.begin(), value.end());
    if (code != 2 || value.size() != 4) return;
    const uint32_t flags = Cursor(value, order_).Take32() & 3;
    if (flags == 1) frame.direction = CapturedFrame::Direction::kInbound;
    if (flags == 2) frame.direction = CapturedFrame::Direction::kOutbound;
  });
  if (interface.ethernet) frames_.push_back(std::move(frame));
  return status;
}

Status PcapngReader::ReadSimple(std::span<const uint8_t> body) {
  Cursor in(body, order_);
  const size_t size = std::min<size_t>(in.Take32(), in.left());
  if (in.missed() || interfaces_.empty()) return Broken("a frame of no interface");
  if (size > kMaxKept) return Broken("a frame that no link carries");
  CapturedFrame frame;
  const auto bytes = in.Take(size);
  frame.bytes.assign(bytes.begin(), bytes.end());
  if (interfaces_[0].ethernet) frames_.push_back(std::move(frame));
  return {};
}

}  // namespace

Result<std::vector<CapturedFrame>> ReadCapture(std::span<const uint8_t> capture) {
  if (capture.size() < 4) return Broken("cut off");
  for (const Order order : {Order::kLittle, Order::kBig}) {
    switch (Cursor(capture, order).Take32()) {
      case kSectionHeader:
        return PcapngReader(capture).Read();
      case kPcapMicroseconds:
        return ReadPcap(capture, order, 1000);
      case kPcapNanoseconds:
        return ReadPcap(capture, order, 1);
      default:
        break;
    }
  }
  return Broken("neither pcap nor pcapng");
}

}  // namespace sallyport::netstack
