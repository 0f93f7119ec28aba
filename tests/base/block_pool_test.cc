#include "base/block_pool.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <utility>
#include <vector>

namespace sallyport {
namespace {

using Size = BlockPool::Size;

constexpr size_t kMostKept = 8 * (16 + 64 + 96) * 1024;

TEST_CASE("a block has the size that was asked for, and no other block's bytes") {
  BlockPool pool;
  std::vector<std::pair<BlockPool::Block, Size>> blocks;
  for (const Size size : {Size::k16KiB, Size::k64KiB, Size::k96KiB, Size::k16KiB}) {
    blocks.emplace_back(pool.Take(size), size);
    std::memset(blocks.back().first.get(), static_cast<int>(blocks.size()),
                BlockPool::BytesOf(size));
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto& [block, size] = blocks[i];
    CHECK(block.get()[0] == i + 1);
    CHECK(block.get()[BlockPool::BytesOf(size) - 1] == i + 1);
  }
}

TEST_CASE("blocks that are given back are used again, and only a few are kept") {
  BlockPool pool;
  for (int round = 0; round < 3; ++round) {
    std::vector<BlockPool::Block> blocks;
    for (int i = 0; i < 100; ++i) {
      for (const Size size : {Size::k16KiB, Size::k64KiB, Size::k96KiB}) {
        blocks.push_back(pool.Take(size));
      }
    }
    CHECK(pool.kept_bytes() == 0);
    blocks.clear();
    CHECK(pool.kept_bytes() <= kMostKept);
  }
}

TEST_CASE("a block that is moved is given back once, by its last owner") {
  BlockPool pool;
  BlockPool::Block first = pool.Take(Size::k16KiB);
  uint8_t* const bytes = first.get();
  BlockPool::Block second = std::move(first);
  CHECK_FALSE(first);
  CHECK(second.get() == bytes);
  first = pool.Take(Size::k64KiB);
  first = std::move(second);
  CHECK(first.get() == bytes);
  CHECK_FALSE(second);
  first.reset();
  CHECK_FALSE(first);
  const BlockPool::Block third = pool.Take(Size::k16KiB);
  const BlockPool::Block fourth = pool.Take(Size::k16KiB);
  CHECK(third.get() != fourth.get());
}

}  // namespace
}  // namespace sallyport
