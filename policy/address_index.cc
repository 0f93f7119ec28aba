#include "policy/address_index.h"

#include <bit>

namespace sallyport::policy {
namespace {

size_t BitOf(AddressClass address_class) {
  return static_cast<size_t>(std::countr_zero(static_cast<uint16_t>(address_class)));
}

template <class Lists>
void AddTo(Lists& lists, const AddressFilter& filter, uint32_t rule) {
  for (size_t i = 0; i < lists.classes.size(); ++i) {
    if ((filter.classes >> i & 1) != 0) lists.classes[i].push_back(rule);
  }
  for (const Prefix& prefix : filter.prefixes) lists.prefixes.Add(prefix, rule);
}

}  // namespace

void AddressIndex::Add(const AddressFilter& filter, Widens widens, uint32_t rule) {
  empty_ = false;
  AddTo(own_, filter, rule);
  for (const Prefix& prefix : filter.prefixes) trie_.Add(prefix, rule);
  if (widens == Widens::kEmbedded) AddTo(widening_, filter, rule);
}

void AddressIndex::CollectFrom(const Lists& lists, const IpAddress& address, Cursors& cursors) {
  cursors.Add(lists.classes[BitOf(Classify(address))]);
  lists.prefixes.ForEachContaining(address,
                                   [&](const auto& list) { cursors.Add(list.begin, list.end); });
}

void AddressIndex::Collect(const IpAddress& address, Cursors& cursors) const {
  CollectFrom(own_, address, cursors);
  if (address.is_v4()) return;
  // As AddressFilter::Admits and Rule::MatchesAddress do.
  const IpAddress plain = Unmapped(address);
  if (plain.is_v4()) {
    own_.prefixes.ForEachContaining(plain,
                                    [&](const auto& list) { cursors.Add(list.begin, list.end); });
  }
  for (const IpAddress& embedded : EmbeddedV4(address)) CollectFrom(widening_, embedded, cursors);
}

}  // namespace sallyport::policy
