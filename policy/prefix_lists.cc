#include "policy/prefix_lists.h"

#include <algorithm>

namespace sallyport::policy {

PrefixLists::Key::Key(const IpAddress& address) : size_(1 + address.bytes().size()) {
  const auto bytes = address.bytes();
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + 1);
}

void PrefixLists::Key::Cut(unsigned length) {
  bytes_[0] = static_cast<char>(length);
  const size_t whole = 1 + length / 8;
  if (whole == size_) return;
  bytes_[whole] = static_cast<char>(static_cast<uint8_t>(bytes_[whole]) & ~(0xff >> length % 8));
  std::fill(bytes_.begin() + static_cast<ptrdiff_t>(whole) + 1,
            bytes_.begin() + static_cast<ptrdiff_t>(size_), '\0');
}

void PrefixLists::Add(const Prefix& prefix, uint32_t rule) {
  const unsigned length = prefix.length();
  lengths_[prefix.address().is_v4() ? 0 : 1][length / 64] |= uint64_t{1} << length % 64;
  Key key(prefix.address());
  key.Cut(length);
  lists_.Add(key.text(), rule);
}

}  // namespace sallyport::policy
