#include "secrets/scrub_value.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

namespace sallyport::secrets {
namespace {

/// A password of punctuation can be spelled in very many ways. It gets a smaller stride instead of
/// more blocks than this (64 KiB while they are sorted).
constexpr size_t kMaxBlocks = 8192;

auto Key(const Block& block) {
  return std::tie(block.bytes, block.form, block.back);
}

/// Calls a function with every block of a rendering, some of them more than once.
template <class Visit>
class BlockWalk {
 public:
  BlockWalk(const Rendering& rendering, Form form, size_t stride, Visit& visit)
      : rendering_(rendering), form_(form), stride_(stride), visit_(visit) {}

  void Run() {
    // Where a symbol may begin: so many bytes behind the spelling's beginning, so far in the row.
    std::set<std::pair<size_t, Rendering::Place>> begins = {{0, rendering_.begin()}};
    while (!begins.empty()) {
      const auto [back, place] = begins.extract(begins.begin()).value();
      const Rendering::Step step = rendering_.At(place);
      Spellings scratch;
      const Spellings& spellings = SpellingsOf(step.symbol, scratch);
      for (size_t i = 0; i < spellings.size(); ++i) {
        FromWithin(spellings[i], back, step.next);
        if (const size_t next = back + spellings[i].size(); next < stride_) {
          begins.insert({next, step.next});
        }
      }
    }
  }

 private:
  void FromWithin(std::string_view spelling, size_t back, Rendering::Place next) {
    for (size_t i = 0; i < spelling.size() && back + i < stride_; ++i) {
      back_ = static_cast<uint8_t>(back + i);
      Fill(0, spelling.substr(i), next);
    }
  }

  /// The block has SIZE bytes; TEXT and then all spellings of the row from NEXT on follow. A row
  /// never ends here: what is left of it, spelled in the shortest way, is a block at least.
  void Fill(size_t size, std::string_view text, Rendering::Place next) {
    const size_t taken = std::min(text.size(), kBlockSize - size);
    std::copy_n(text.begin(), taken, bytes_.begin() + static_cast<std::ptrdiff_t>(size));
    size += taken;
    if (size == kBlockSize) {
      Block block;
      memcpy(&block.bytes, bytes_.data(), kBlockSize);
      block.form = form_;
      block.back = back_;
      return visit_(block);
    }
    const Rendering::Step step = rendering_.At(next);
    Spellings scratch;
    const Spellings& spellings = SpellingsOf(step.symbol, scratch);
    for (size_t i = 0; i < spellings.size(); ++i) Fill(size, spellings[i], step.next);
  }

  const Rendering& rendering_;
  Form form_;
  size_t stride_;
  Visit& visit_;
  std::array<char, kBlockSize> bytes_{};
  uint8_t back_ = 0;
};

template <class Visit>
void ForEachBlock(std::string_view value, size_t stride, Visit visit) {
  for (const Form form : kForms) {
    const Rendering rendering(value, form);
    BlockWalk(rendering, form, stride, visit).Run();
  }
}

size_t CountBlocks(std::string_view value, size_t stride) {
  size_t count = 0;
  ForEachBlock(value, stride, [&count](const Block&) { ++count; });
  return count;
}

/// The longest stride with not too many blocks, and how many those are.
std::pair<size_t, size_t> ChooseStride(std::string_view value) {
  size_t stride = std::min(value.size() - (kBlockSize - 1), ScrubValue::kMaxStride);
  size_t count = CountBlocks(value, stride);
  while (count > kMaxBlocks && stride > 1) {
    stride /= 2;
    count = CountBlocks(value, stride);
  }
  return {stride, count};
}

size_t BlocksAt(size_t value_size) {
  return (value_size + alignof(Block) - 1) / alignof(Block) * alignof(Block);
}

}  // namespace

Result<std::shared_ptr<const ScrubValue>> ScrubValue::Create(std::string_view value) {
  const auto [stride, count] = ChooseStride(value);
  Result<LockedMemory> all = LockedMemory::Create(count * sizeof(Block));
  if (!all) return tl::unexpected(std::move(all).error());
  auto* const blocks = reinterpret_cast<Block*>(all->data());
  Block* end = blocks;
  ForEachBlock(value, stride, [&end](const Block& block) { *end++ = block; });
  std::sort(blocks, end, [](const Block& a, const Block& b) { return Key(a) < Key(b); });
  end = std::unique(blocks, end, [](const Block& a, const Block& b) { return Key(a) == Key(b); });

  const auto kept = static_cast<size_t>(end - blocks);
  Result<LockedMemory> memory = LockedMemory::Create(BlocksAt(value.size()) + kept * sizeof(Block));
  if (!memory) return tl::unexpected(std::move(memory).error());
  memcpy(memory->data(), value.data(), value.size());
  memcpy(memory->data() + BlocksAt(value.size()), blocks, kept * sizeof(Block));
  return std::shared_ptr<const ScrubValue>(
      new ScrubValue(*std::move(memory), value.size(), stride, kept));
}

ScrubValue::ScrubValue(LockedMemory memory, size_t size, size_t stride, size_t block_count)
    : memory_(std::move(memory)), size_(size), stride_(stride), block_count_(block_count) {
  for (const Form form : kForms) {
    longest_spelling_ = std::max(longest_spelling_, Rendering(value(), form).LongestSpelling());
  }
}

std::span<const Block> ScrubValue::blocks() const {
  const char* begin = memory_.data() + BlocksAt(size_);
  return {reinterpret_cast<const Block*>(begin), block_count_};
}

}  // namespace sallyport::secrets
