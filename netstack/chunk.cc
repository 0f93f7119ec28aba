#include "netstack/chunk.h"

#include <cstdlib>

namespace sallyport::netstack {
namespace {

// Memory that stays with an idle stack: 4 MiB of large chunks, half a MiB of small ones.
constexpr size_t kMaxFreeLarge = 16;
constexpr size_t kMaxFreeSmall = 64;

}  // namespace

ChunkPool::~ChunkPool() {
  for (FreeList* list : {&small_, &large_}) {
    while (list->first != nullptr) std::free(std::exchange(list->first, list->first->next));
  }
}

Chunk* ChunkPool::Take(Size size) {
  const size_t capacity = size == Size::kLarge ? kLarge : kSmall;
  if (!budget_.Take(sizeof(Chunk) + capacity)) return nullptr;
  FreeList& list = ListOf(capacity);
  Chunk* chunk = list.first;
  if (chunk != nullptr) {
    list.first = chunk->next;
    --list.count;
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
  if (list.count == (chunk->capacity == kLarge ? kMaxFreeLarge : kMaxFreeSmall)) {
    return std::free(chunk);
  }
  chunk->next = list.first;
  list.first = chunk;
  ++list.count;
}

}  // namespace sallyport::netstack
