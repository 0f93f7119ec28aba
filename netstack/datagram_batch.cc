#include "netstack/datagram_batch.h"

#include <sys/uio.h>

#include <algorithm>

#include "netstack/udp_flow.h"

namespace sallyport::netstack {

// Not zeroed: what no burst has filled is no memory.
DatagramBatch::DatagramBatch() : bytes_(new uint8_t[kMaxBytes]) {}

void DatagramBatch::Add(UdpFlow& flow, std::span<const uint8_t> datagram) {
  const bool alone = datagram.size() > kMaxDatagram;
  if (alone || count_ == kMaxDatagrams || datagram.size() > kMaxBytes - used_) Flush();
  if (alone) {
    iovec one{const_cast<uint8_t*>(datagram.data()), datagram.size()};
    return flow.SendUp({&one, 1});
  }
  uint8_t* const data = bytes_.get() + used_;
  std::ranges::copy(datagram, data);
  entries_[count_++] = {&flow, data, datagram.size()};
  used_ += datagram.size();
}

// A flow that ends while it sends flushes too, which leaves nothing to do here.
void DatagramBatch::Flush() {
  for (size_t at = 0; at < count_; ++at) {
    if (entries_[at].flow != nullptr) SendAllOf(*entries_[at].flow, at);
  }
  count_ = 0;
  used_ = 0;
}

void DatagramBatch::SendAllOf(UdpFlow& flow, size_t first) {
  std::array<iovec, kMaxDatagrams> datagrams;
  size_t count = 0;
  for (size_t at = first; at < count_; ++at) {
    if (entries_[at].flow != &flow) continue;
    datagrams[count++] = {entries_[at].data, entries_[at].size};
    entries_[at].flow = nullptr;
  }
  flow.SendUp(std::span(datagrams).first(count));
}

}  // namespace sallyport::netstack
