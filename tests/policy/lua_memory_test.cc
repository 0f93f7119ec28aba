#include "policy/lua_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

using sallyport::policy::LuaMemory;

namespace {

constexpr size_t kLimit = size_t{1} << 20;

struct Block {
  unsigned char* bytes = nullptr;
  size_t size = 0;
  unsigned char mark = 0;
};

bool Resize(LuaMemory& memory, Block& block, size_t size) {
  void* bytes = memory.Resize(block.bytes, block.size, size);
  if (bytes == nullptr && size > 0) return false;
  block.bytes = static_cast<unsigned char*>(bytes);
  block.size = size;
  return true;
}

void Fill(Block& block, unsigned char mark) {
  block.mark = mark;
  std::fill_n(block.bytes, block.size, mark);
}

bool HasKept(const Block& block, size_t size) {
  return std::all_of(block.bytes, block.bytes + std::min(block.size, size),
                     [&block](unsigned char byte) { return byte == block.mark; });
}

void FreeAll(LuaMemory& memory, std::vector<Block>& blocks) {
  for (Block& block : blocks) Resize(memory, block, 0);
}

}  // namespace

TEST_CASE("blocks keep what is in them, and none is another's") {
  LuaMemory memory(kLimit);
  std::mt19937 random(1);
  std::vector<Block> blocks(500);
  bool kept = true;
  bool aligned = true;
  for (int i = 0; i < 100'000; ++i) {
    Block& block = blocks[random() % blocks.size()];
    const size_t before = block.size;
    if (!Resize(memory, block, random() % (random() % 4 == 0 ? 1500 : 300))) continue;
    kept = kept && HasKept(block, before);
    aligned = aligned && reinterpret_cast<uintptr_t>(block.bytes) % alignof(void*) == 0;
    if (block.size > 0) Fill(block, static_cast<unsigned char>(i));
  }
  CHECK(kept);
  CHECK(aligned);
  FreeAll(memory, blocks);
}

TEST_CASE("what was freed is used again") {
  LuaMemory memory(kLimit);
  std::vector<Block> blocks(1000);
  for (Block& block : blocks) Resize(memory, block, 100);
  const size_t held = memory.held();
  for (int i = 0; i < 100; ++i) {
    FreeAll(memory, blocks);
    for (Block& block : blocks) REQUIRE(Resize(memory, block, 100));
  }
  CHECK(memory.held() == held);
  FreeAll(memory, blocks);
}

TEST_CASE("growth ends below the limit, for blocks of any size") {
  for (const size_t size : {size_t{8}, size_t{250}, size_t{257}, size_t{100'000}}) {
    LuaMemory memory(kLimit);
    std::vector<Block> blocks;
    for (Block block; Resize(memory, block, size); block = {}) blocks.push_back(block);
    CHECK(blocks.size() * size > kLimit / 2);
    CHECK(memory.held() <= kLimit);
    Block huge;
    CHECK_FALSE(Resize(memory, huge, SIZE_MAX));
    CHECK_FALSE(Resize(memory, blocks[0], kLimit));
    FreeAll(memory, blocks);
  }
}

TEST_CASE("shrinking never fails, and stays within the limit") {
  constexpr size_t kSmall[] = {256, 249, 248, 200, 136, 1};
  LuaMemory memory(kLimit);
  std::vector<Block> blocks;
  for (Block block; Resize(memory, block, 257); block = {}) blocks.push_back(block);
  size_t most = 0;
  size_t next = 0;
  for (Block& block : blocks) {
    Fill(block, 7);
    REQUIRE(Resize(memory, block, kSmall[next++ % std::size(kSmall)]));
    REQUIRE(HasKept(block, block.size));
    most = std::max(most, memory.held());
    // As much as the reserve allows is not for growing.
    Block other;
    if (Resize(memory, other, 8)) Resize(memory, other, 0);
  }
  CHECK(most <= kLimit);
  FreeAll(memory, blocks);
}
