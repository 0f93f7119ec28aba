#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "netstack/flow_key.h"

namespace sallyport::netstack {

/// What a flow must have to be in a FlowTable.
template <class Flow>
struct TableNode {
  FlowKey key;
  uint64_t hash = 0;
  Flow* next = nullptr;
};

/// Finds flows by their key. Owns none of them: a Flow has a public member `table_node` and takes
/// itself out before it is destroyed.
template <class Flow>
class FlowTable {
 public:
  explicit FlowTable(uint64_t seed) : seed_(seed), buckets_(kFirstBuckets) {}

  Flow* Find(const FlowKey& key) const {
    const uint64_t hash = key.Hash(seed_);
    for (Flow* flow = Bucket(hash); flow; flow = flow->table_node.next) {
      if (flow->table_node.hash == hash && flow->table_node.key == key) return flow;
    }
    return nullptr;
  }

  /// Has the processor fetch what Find() will look at, most likely.
  void Prefetch(const FlowKey& key) const { __builtin_prefetch(Bucket(key.Hash(seed_))); }

  /// FLOW's key is set and not in the table yet.
  void Insert(Flow* flow) {
    if (size_ >= buckets_.size()) Grow();
    flow->table_node.hash = flow->table_node.key.Hash(seed_);
    Link(flow);
    ++size_;
  }

  void Erase(Flow* flow) {
    Flow** at = &Bucket(flow->table_node.hash);
    while (*at != flow) at = &(*at)->table_node.next;
    *at = flow->table_node.next;
    --size_;
  }

  size_t size() const { return size_; }

  /// Calls VISIT with each flow, which must not change the table.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (Flow* first : buckets_) {
      for (Flow* flow = first; flow; flow = flow->table_node.next) visit(*flow);
    }
  }

 private:
  static constexpr size_t kFirstBuckets = 256;  // A power of two.

  Flow*& Bucket(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  Flow* Bucket(uint64_t hash) const { return buckets_[hash & (buckets_.size() - 1)]; }

  void Link(Flow* flow) {
    flow->table_node.next = Bucket(flow->table_node.hash);
    Bucket(flow->table_node.hash) = flow;
  }

  void Grow() {
    std::vector<Flow*> old(buckets_.size() * 2);
    old.swap(buckets_);
    for (Flow* flow : old) {
      while (flow != nullptr) Link(std::exchange(flow, flow->table_node.next));
    }
  }

  const uint64_t seed_;
  std::vector<Flow*> buckets_;
  size_t size_ = 0;
};

}  // namespace sallyport::netstack
