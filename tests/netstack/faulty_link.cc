#include "faulty_link.h"

#include <algorithm>

namespace sallyport::netstack {

Link::Received FaultyLink::Read(std::span<uint8_t> buffer) {
  if (!arrived_.empty()) {
    const Frame frame = std::move(arrived_.front());
    arrived_.pop_front();
    std::ranges::copy(frame.bytes, buffer.begin());
    return {.kind = Received::Kind::kFrame,
            .length = frame.bytes.size(),
            .checksum_trusted = frame.checksum_trusted};
  }
  for (;;) {
    const Received received = link_->Read(buffer);
    if (received.kind != Received::Kind::kFrame) return received;
    if (Hits(faults_.lost)) continue;
    const auto bytes = buffer.first(received.length);
    const bool repeated = Hits(faults_.repeated);
    const bool overtaken = Hits(faults_.overtaken);
    if (!repeated && !overtaken) return received;
    arrived_.push_back({.bytes = {bytes.begin(), bytes.end()},
                        .checksum_trusted = received.checksum_trusted,
                        .offload = {}});
    if (!overtaken) return received;
    const Received next = link_->Read(buffer);
    return next.kind == Received::Kind::kFrame ? next : Read(buffer);
  }
}

bool FaultyLink::Put(Frame& frame) {
  iovec parts[] = {{}, {frame.bytes.data(), frame.bytes.size()}};
  return link_->Write(parts, frame.offload);
}

bool FaultyLink::Write(std::span<iovec> parts, const Offload& offload) {
  Frame frame;
  frame.offload = offload;
  for (const iovec& part : parts.subspan(1)) {
    const auto* bytes = static_cast<const uint8_t*>(part.iov_base);
    frame.bytes.insert(frame.bytes.end(), bytes, bytes + part.iov_len);
  }
  if (Hits(faults_.lost)) return true;
  if (held_.empty() && Hits(faults_.overtaken)) {
    held_.push_back(std::move(frame));
    return true;
  }
  bool taken = Put(frame);
  if (Hits(faults_.repeated)) taken = Put(frame) && taken;
  if (!held_.empty()) {
    taken = Put(held_.front()) && taken;
    held_.pop_front();
  }
  return taken;
}

}  // namespace sallyport::netstack
