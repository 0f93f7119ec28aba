#include "guest/agent/sha1.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace sallyport::guest {
namespace {

constexpr size_t kBlock = 64;
constexpr size_t kLengthField = 8;

class Hash {
 public:
  void Add(std::string_view bytes) {
    length_ += bytes.size();
    while (!bytes.empty()) {
      const size_t taken = std::min(bytes.size(), kBlock - filled_);
      std::memcpy(block_.data() + filled_, bytes.data(), taken);
      filled_ += taken;
      bytes.remove_prefix(taken);
      if (filled_ == kBlock) AddBlock();
    }
  }

  Sha1Digest Finish() {
    const uint64_t bits = length_ * 8;
    block_[filled_++] = 0x80;
    if (filled_ > kBlock - kLengthField) {
      std::fill(block_.begin() + static_cast<ptrdiff_t>(filled_), block_.end(), uint8_t{0});
      AddBlock();
    }
    std::fill(block_.begin() + static_cast<ptrdiff_t>(filled_), block_.end(), uint8_t{0});
    for (size_t i = 0; i < kLengthField; ++i) {
      block_[kBlock - 1 - i] = static_cast<uint8_t>(bits >> (8 * i));
    }
    AddBlock();
    Sha1Digest digest;
    for (size_t i = 0; i < digest.size(); ++i) {
      digest[i] = static_cast<uint8_t>(state_[i / 4] >> (8 * (3 - i % 4)));
    }
    return digest;
  }

 private:
  void AddBlock() {
    std::array<uint32_t, 80> words;
    for (size_t i = 0; i < 16; ++i) {
      const uint8_t* at = block_.data() + 4 * i;
      words[i] = uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
    }
    for (size_t i = 16; i < 80; ++i) {
      words[i] = std::rotl(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    // Not bound to names at once: clang 14 takes no such names into a lambda.
    uint32_t a = state_[0];
    uint32_t b = state_[1];
    uint32_t c = state_[2];
    uint32_t d = state_[3];
    uint32_t e = state_[4];
    const auto round = [&](uint32_t mixed, uint32_t constant, uint32_t word) {
      const uint32_t next = std::rotl(a, 5) + mixed + e + constant + word;
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    };
    for (size_t i = 0; i < 20; ++i) round((b & c) | (~b & d), 0x5a827999, words[i]);
    for (size_t i = 20; i < 40; ++i) round(b ^ c ^ d, 0x6ed9eba1, words[i]);
    for (size_t i = 40; i < 60; ++i) round((b & c) | (b & d) | (c & d), 0x8f1bbcdc, words[i]);
    for (size_t i = 60; i < 80; ++i) round(b ^ c ^ d, 0xca62c1d6, words[i]);
    state_[0] += a;
    state_[1] += b;
    state_[2] += c;
    state_[3] += d;
    state_[4] += e;
    filled_ = 0;
  }

  std::array<uint32_t, 5> state_ = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::array<uint8_t, kBlock> block_;
  size_t filled_ = 0;  // Of block_; less than kBlock between calls.
  uint64_t length_ = 0;
};

}  // namespace

Sha1Digest Sha1(std::initializer_list<std::string_view> parts) {
  Hash hash;
  for (const std::string_view part : parts) hash.Add(part);
  return hash.Finish();
}

}  // namespace sallyport::guest
