#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

struct pbuf;

namespace sallyport::netstack {

/// Bytes of one guest connection that arrived in order and were not taken yet.
class ReceiveQueue {
 public:
  ReceiveQueue() = default;
  ~ReceiveQueue() { Clear(); }
  ReceiveQueue(const ReceiveQueue&) = delete;
  ReceiveQueue& operator=(const ReceiveQueue&) = delete;

  /// Adds CHAIN, whose ownership passes, behind what is there.
  void Push(pbuf* chain);
  /// Points PARTS at the first bytes and returns how many of them were used.
  size_t Peek(std::span<iovec> parts) const;
  /// Removes the first SIZE bytes, which must be there.
  void Consume(size_t size);
  /// Moves bytes into BUFFER and returns how many.
  size_t Read(std::span<uint8_t> buffer);
  /// Drops everything and returns how many bytes that was.
  size_t Clear();

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

 private:
  void Compact();

  // Chains as lwIP made them, each with a right total length; those before head_ are gone. Never
  // joined with each other: lwIP's lengths are 16 bits wide.
  std::vector<pbuf*> chains_;
  size_t head_ = 0;
  size_t size_ = 0;
};

}  // namespace sallyport::netstack
