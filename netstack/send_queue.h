#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "netstack/chunk.h"

namespace sallyport::netstack {

/// Bytes on their way to one guest connection, from where they were put until the guest has
/// acknowledged them. Three marks move through them in order: filled, written (given to lwIP),
/// acknowledged.
class SendQueue {
 public:
  explicit SendQueue(ChunkPool& pool) : pool_(pool) {}
  ~SendQueue() { Clear(); }
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;

  /// Memory to fill, for Commit(); empty when the budget is spent.
  std::span<uint8_t> Space();
  /// The first SIZE bytes of Space() are filled.
  void Commit(size_t size);
  /// Copies a prefix of BYTES in and returns its length; all of them unless the budget is spent.
  size_t Append(std::span<const uint8_t> bytes);

  /// The next bytes for lwIP, as many as lie together; empty when there are none.
  std::span<const uint8_t> Unwritten() const;
  void MarkWritten(size_t size);
  /// The guest has acknowledged SIZE bytes more.
  void Acknowledge(size_t size);
  /// Frees everything: lwIP no longer refers to any of it.
  void Clear();

  size_t unwritten() const { return unwritten_; }
  /// Bytes not acknowledged yet, unwritten ones included.
  size_t size() const { return size_; }

 private:
  bool MoveToTiny(size_t size);
  void DropFirst();

  ChunkPool& pool_;
  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  Chunk* writing_ = nullptr;  // Where the next unwritten byte is, unless all are written.
  size_t unwritten_ = 0;
  size_t size_ = 0;
  bool bulk_ = false;  // The last chunk was filled: the next is a large one.
};

}  // namespace sallyport::netstack
