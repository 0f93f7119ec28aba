#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::policy {

/// Lists of rule numbers by name, or by another short text: a hash table whose entries and names lie
/// one after the other in memory, so that a look at one of many thousands waits for memory twice, and
/// not at each of five pointers.
class NameLists {
 public:
  /// Adds RULE, which is not less than any before it, to NAME's list, once.
  void Add(std::string_view name, uint32_t rule);

  /// NAME's list, by its ends; both null without one. Good until the next Add().
  struct List {
    const uint32_t* begin = nullptr;
    const uint32_t* end = nullptr;
  };
  List Find(std::string_view name) const;

  bool empty() const { return used_ == 0; }

 private:
  struct Entry {
    uint32_t hash = 0;
    uint32_t name_at = 0;
    uint16_t name_size = 0;  // 0: free; no name is empty.
    bool is_many = false;
    uint32_t rule = 0;  // The only one; or, of many, where their list is.
  };

  static uint32_t HashOf(std::string_view name);
  /// Where NAME is, or where it would have to be put; there is a free entry.
  size_t Slot(std::string_view name, uint32_t hash) const;
  void Grow();

  std::vector<Entry> entries_;  // A power of two of them, at most half of them used.
  size_t used_ = 0;
  std::string names_;
  std::vector<std::vector<uint32_t>> many_;
};

}  // namespace sallyport::policy
