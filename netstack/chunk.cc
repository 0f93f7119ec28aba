#include "netstack/chunk.h"

#include <algorithm>
#include <cstdlib>

namespace sallyport::netstack {
namespace {

// Memory that stays with a stack until it is idle: 4 MiB of large chunks, half a MiB of small ones,
// a quarter of tiny ones.
constexpr size_t kMaxFreeLarge = 16;
constexpr size_t kMaxFreeSmall = 64;
constexpr size_t kMaxFreeTiny = 256;

size_t CapacityOf(ChunkPool::Size size) {
  switch (size) {
    case ChunkPool::Size::kTiny:
      return ChunkPool::kTiny;
    case ChunkPool::Size::kSmall:
      return ChunkPool::kSmall;
    case ChunkPool::Size::kLarge:
      break;
  }
  return ChunkPool::kLarge;
}

size_t MaxFree(size_t capacity) {
  if (capacity == ChunkPool::kLarge) return kMaxFreeLarge;
  return capacity == ChunkPool::kSmall ? kMaxFreeSmall : kMaxFreeTiny;
}

}  // namespace

ChunkPool::~ChunkPool() {
  for (FreeList* list : {&tiny_, &small_, &large_}) {
    while (list->first != nullptr) std::free(std::exchange(list->first, list->first->next));
  }
}

Chunk* ChunkPool::Take(Size size) {
  const size_t capacity = CapacityOf(size);
  if (!budget_.Take(sizeof(Chunk) + capacity)) return nullptr;
  FreeList& list = ListOf(capacity);
  Chunk* chunk = list.first;
  if (chunk != nullptr) {
    list.first = chunk->next;
    --list.count;
    list.least = std::min(list.least, list.count);
  } else {
    chunk = static_cast<Chunk*>(std::malloc(sizeof(Chunk) + capacity));
    if (chunk == nullptr) std::abort();
  }
  *chunk = {.next = nullptr, .capacity = capacity, .filled = 0, .written = 0, .acked = 0};
  return chunk;
}

void ChunkPool::Put(Chunk* chunk) {
  budget_.Give(sizeof(Chunk) + chunk->capacity);
  FreeList& list = ListOf(chunk->capacity);
  if (list.count == MaxFree(chunk->capacity)) return std::free(chunk);
  chunk->next = list.first;
  list.first = chunk;
  ++list.count;
}

bool ChunkPool::Trim() {
  bool any = false;
  for (FreeList* list : {&tiny_, &small_, &large_}) {
    any = any || list->least > 0;
    for (; list->least > 0; --list->least, --list->count) {
      std::free(std::exchange(list->first, list->first->next));
    }
    list->least = list->count;
  }
  return any;
}

}  // namespace sallyport::netstack
