#include "netstack/tcp_segment.h"

#include "netstack/byte_order.h"

namespace sallyport::netstack {
namespace {

// Whether each option lies within OPTIONS. lwIP reads an option's length without looking whether
// there is one.
bool OptionsWhole(std::span<const uint8_t> options) {
  constexpr uint8_t kEnd = 0;
  constexpr uint8_t kNothing = 1;
  while (!options.empty() && options[0] != kEnd) {
    size_t size = 1;
    if (options[0] != kNothing) {
      if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return false;
      size = options[1];
    }
    options = options.subspan(size);
  }
  return true;
}

}  // namespace

void TcpSegment::Cut(size_t size) {
  payload = size;
  header[13] = static_cast<uint8_t>(header[13] & ~(kFin | kPsh));
}

std::optional<TcpSegment> ParseTcp(const Packet& packet) {
  const std::span<uint8_t> bytes = packet.payload;
  if (bytes.size() < TcpSegment::kMinHeader) return std::nullopt;
  const size_t header = size_t{4} * (bytes[12] >> 4);
  if (header < TcpSegment::kMinHeader || header > bytes.size()) return std::nullopt;
  if (!OptionsWhole(bytes.first(header).subspan(TcpSegment::kMinHeader))) return std::nullopt;

  TcpSegment segment{.source_port = Load16(&bytes[0]),
                     .destination_port = Load16(&bytes[2]),
                     .sequence = Load32(&bytes[4]),
                     .acknowledgement = Load32(&bytes[8]),
                     .header = bytes.first(header),
                     .payload = bytes.size() - header};
  if (segment.source_port == 0 || segment.destination_port == 0) return std::nullopt;
  // Connections are only opened by the guest, so it never accepts one; and a SYN that also ends or
  // resets its connection is a scanner's.
  constexpr uint8_t kNotWithSyn = TcpSegment::kAck | TcpSegment::kFin | TcpSegment::kRst;
  if (segment.has(TcpSegment::kSyn) && segment.has(kNotWithSyn)) return std::nullopt;
  return segment;
}

}  // namespace sallyport::netstack
