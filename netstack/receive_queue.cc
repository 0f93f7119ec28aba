#include "netstack/receive_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "netstack/lwip/port.h"

namespace sallyport::netstack {

void ReceiveQueue::Push(pbuf* chain) {
  size_ += chain->tot_len;
  chains_.push_back(chain);
}

size_t ReceiveQueue::Peek(std::span<iovec> parts) const {
  size_t used = 0;
  for (size_t at = head_; at < chains_.size(); ++at) {
    for (const pbuf* part = chains_[at]; part != nullptr; part = part->next) {
      if (part->len == 0) continue;
      if (used == parts.size()) return used;
      parts[used++] = {part->payload, part->len};
    }
  }
  return used;
}

void ReceiveQueue::Consume(size_t size) {
  size_ -= size;
  while (size > 0) {
    const size_t piece = std::min<size_t>(size, chains_[head_]->tot_len);
    size -= piece;
    if (piece == chains_[head_]->tot_len) {
      pbuf_free(chains_[head_++]);
    } else {
      // Frees the parts that are used up and moves the start of the first that is not.
      chains_[head_] = pbuf_free_header(chains_[head_], static_cast<u16_t>(piece));
    }
  }
  Compact();
}

size_t ReceiveQueue::Read(std::span<uint8_t> buffer) {
  size_t done = 0;
  for (size_t at = head_; at < chains_.size() && done < buffer.size(); ++at) {
    const size_t piece = std::min<size_t>(chains_[at]->tot_len, buffer.size() - done);
    pbuf_copy_partial(chains_[at], buffer.data() + done, static_cast<u16_t>(piece), 0);
    done += piece;
  }
  if (done > 0) Consume(done);
  return done;
}

size_t ReceiveQueue::Clear() {
  for (; head_ < chains_.size(); ++head_) pbuf_free(chains_[head_]);
  Compact();
  return std::exchange(size_, 0);
}

void ReceiveQueue::Compact() {
  constexpr size_t kKeep = 64;  // Pointers; what an idle connection may go on holding.
  if (head_ == chains_.size()) {
    chains_.clear();
    head_ = 0;
    if (chains_.capacity() > kKeep) chains_.shrink_to_fit();
  } else if (head_ > kKeep && head_ > chains_.size() / 2) {
    chains_.erase(chains_.begin(), chains_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
}

}  // namespace sallyport::netstack
