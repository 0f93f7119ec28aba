#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sallyport {

/// The large blocks that streams read into and gather in. Each is needed for part of a turn only,
/// and taken again with the next request: an allocator of general use splits and joins its memory
/// for that each time, which costs more than what is done with the block.
///
/// Blocks are not cleared, neither when taken nor when given back: who keeps secrets in one wipes
/// it.
class BlockPool {
 public:
  enum class Size : uint8_t { k16KiB, k64KiB, k96KiB };

  static constexpr size_t BytesOf(Size size) {
    constexpr std::array<size_t, 3> kBytes{16 * 1024, 64 * 1024, 96 * 1024};
    return kBytes[static_cast<size_t>(size)];
  }

  /// One block, given back when this is destroyed; or none.
  class Block {
   public:
    Block() = default;
    Block(Block&& other) noexcept
        : pool_(other.pool_), size_(other.size_), bytes_(std::exchange(other.bytes_, nullptr)) {}
    Block& operator=(Block&& other) noexcept {
      if (this == &other) return *this;
      reset();
      pool_ = other.pool_;
      size_ = other.size_;
      bytes_ = std::exchange(other.bytes_, nullptr);
      return *this;
    }
    ~Block() { reset(); }

    explicit operator bool() const { return bytes_ != nullptr; }
    uint8_t* get() const { return bytes_; }
    void reset() {
      if (bytes_ != nullptr) pool_->GiveBack(size_, std::exchange(bytes_, nullptr));
    }

   private:
    friend class BlockPool;
    Block(BlockPool* pool, Size size, uint8_t* bytes) : pool_(pool), size_(size), bytes_(bytes) {}

    BlockPool* pool_ = nullptr;
    Size size_ = Size::k16KiB;
    uint8_t* bytes_ = nullptr;
  };

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool();

  /// The pool outlives what it gives.
  Block Take(Size size);

  /// Bytes that lie here unused.
  size_t kept_bytes() const;

 private:
  void GiveBack(Size size, uint8_t* bytes);

  std::array<std::vector<uint8_t*>, 3> kept_;
};

}  // namespace sallyport
