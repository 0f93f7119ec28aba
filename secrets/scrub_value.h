#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/result.h"
#include "secrets/locked_memory.h"
#include "secrets/rendering.h"

namespace sallyport::secrets {

/// Four bytes of a text, as they lie in memory.
constexpr size_t kBlockSize = 4;

/// Four bytes that stand in some spelling of a value's rendering.
struct Block {
  uint32_t bytes = 0;
  Form form = Form::kText;
  uint8_t back = 0;  ///< How far behind the spelling's beginning; below the value's stride.
};

/// A value with what is needed to look for it, in locked memory. Never changes.
///
/// Every spelling of every rendering is at least stride() + kBlockSize - 1 bytes long, and at each
/// of its first stride() bytes one of blocks() begins. So a text that is looked at in every
/// stride()th place shows a block wherever it has a spelling.
class ScrubValue {
 public:
  /// More would cost locked memory and find nothing sooner: a look costs what 16 bytes of copying
  /// cost.
  static constexpr size_t kMaxStride = 16;

  /// A copy of VALUE, which is at least kShortestValue long. kLimit when memory can't be locked.
  static Result<std::shared_ptr<const ScrubValue>> Create(std::string_view value);

  std::string_view value() const { return {memory_.data(), size_}; }
  size_t stride() const { return stride_; }
  /// Each once.
  std::span<const Block> blocks() const;
  size_t longest_spelling() const { return longest_spelling_; }

 private:
  ScrubValue(LockedMemory memory, size_t size, size_t stride, size_t block_count);

  LockedMemory memory_;  // The value, and from the next multiple of alignof(Block) on the blocks.
  size_t size_;
  size_t stride_;
  size_t block_count_;
  size_t longest_spelling_ = 0;
};

}  // namespace sallyport::secrets
