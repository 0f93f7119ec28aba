#pragma once

#include <cstddef>

namespace sallyport::mitm::content {

/// The memory of all decoders of one interceptor: windows are up to 16 MiB each, and a hostile
/// server chooses them. Decoders allocate here; one that gets nothing fails with kLimit.
class DecoderMemory {
 public:
  explicit DecoderMemory(size_t limit) : left_(limit) {}
  DecoderMemory(const DecoderMemory&) = delete;
  DecoderMemory& operator=(const DecoderMemory&) = delete;

  /// SIZE bytes, aligned for anything, or null when the limit is reached.
  void* Allocate(size_t size) noexcept;
  /// Gives a block back; null is none.
  void Free(void* block) noexcept;

  size_t left() const { return left_; }

 private:
  size_t left_;
};

}  // namespace sallyport::mitm::content
