#include "netstack/send_queue.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sallyport::netstack {
namespace {

// Reading less than this at once from a socket costs more than a new chunk.
constexpr size_t kLeastSpace = 4 * 1024;

}  // namespace

std::span<uint8_t> SendQueue::Space() {
  if (last_ == nullptr || last_->room() < kLeastSpace) {
    Chunk* chunk = pool_.Take(bulk_ ? ChunkPool::Size::kLarge : ChunkPool::Size::kSmall);
    if (chunk == nullptr && bulk_) chunk = pool_.Take(ChunkPool::Size::kSmall);
    if (chunk == nullptr) return {};
    (last_ != nullptr ? last_->next : first_) = chunk;
    last_ = chunk;
  }
  return {last_->data() + last_->filled, last_->room()};
}

void SendQueue::Commit(size_t size) {
  if (size == 0) {
    // An unused chunk would pin memory while the connection is idle.
    if (first_ == last_ && first_->acked == first_->filled) DropFirst();
    return;
  }
  const bool tiny = MoveToTiny(size);
  if (unwritten_ == 0) writing_ = last_;
  last_->filled += size;
  unwritten_ += size;
  size_ += size;
  bulk_ = !tiny && (last_->room() < kLeastSpace || (bulk_ && size >= ChunkPool::kSmall));
}

// A short message that is all there is doesn't keep a chunk many times its size until the guest has
// acknowledged it: exchanges on many connections at once would each hold one.
bool SendQueue::MoveToTiny(size_t size) {
  if (size > ChunkPool::kTiny || first_ != last_ || last_->filled > 0) return false;
  Chunk* tiny = pool_.Take(ChunkPool::Size::kTiny);
  if (tiny == nullptr) return false;
  std::memcpy(tiny->data(), last_->data(), size);
  pool_.Put(last_);
  first_ = last_ = tiny;
  return true;
}

size_t SendQueue::Append(std::span<const uint8_t> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    bulk_ = bulk_ || bytes.size() - done > ChunkPool::kSmall;
    const std::span<uint8_t> space = Space();
    if (space.empty()) break;
    const size_t piece = std::min(space.size(), bytes.size() - done);
    std::memcpy(space.data(), bytes.data() + done, piece);
    Commit(piece);
    done += piece;
  }
  return done;
}

std::span<const uint8_t> SendQueue::Unwritten() const {
  if (unwritten_ == 0) return {};
  return {writing_->data() + writing_->written, writing_->filled - writing_->written};
}

void SendQueue::MarkWritten(size_t size) {
  writing_->written += size;
  unwritten_ -= size;
  if (writing_->written == writing_->filled && unwritten_ > 0) writing_ = writing_->next;
}

void SendQueue::Acknowledge(size_t size) {
  SALLYPORT_CHECK(size <= size_ - unwritten_);
  size_ -= size;
  while (size > 0) {
    const size_t piece = std::min(size, first_->written - first_->acked);
    first_->acked += piece;
    size -= piece;
    // The last chunk is done with too, though it has room: an idle connection holds no memory.
    if (first_->acked == first_->filled) DropFirst();
  }
  if (first_ != nullptr && first_->filled == 0) DropFirst();
}

void SendQueue::DropFirst() {
  Chunk* chunk = first_;
  first_ = chunk->next;
  if (first_ == nullptr) last_ = nullptr;
  pool_.Put(chunk);
}

void SendQueue::Clear() {
  while (first_ != nullptr) DropFirst();
  unwritten_ = 0;
  size_ = 0;
}

}  // namespace sallyport::netstack
