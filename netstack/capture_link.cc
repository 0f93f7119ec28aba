#include "netstack/capture_link.h"

#include <vector>

namespace sallyport::netstack {

Link::Received CaptureLink::Read(std::span<uint8_t> buffer) {
  const Received received = link_->Read(buffer);
  if (received.kind == Received::Kind::kFrame && received.length > 0) {
    capture_.OnFrame(PcapngDirection::kInbound,
                     {buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(received.length)});
  }
  return received;
}

bool CaptureLink::Write(std::span<iovec> parts, const Offload& offload) {
  std::vector<uint8_t> frame;
  for (const iovec& part : parts.subspan(1)) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    frame.insert(frame.end(), bytes, bytes + part.iov_len);
  }
  capture_.OnFrame(PcapngDirection::kOutbound, std::move(frame));
  return link_->Write(parts, offload);
}

}  // namespace sallyport::netstack
