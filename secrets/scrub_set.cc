// How many values in many renderings are found in one pass.
//
// Every spelling of every pattern is at least stride + 3 bytes long, and the set knows each block
// of four bytes that may begin in the first stride bytes of one. So one look every stride bytes is
// enough: whatever begins between two looks has a block at the second. A look is one multiplication
// and one bit of a filter that fits the first cache, whatever the number of patterns; with values
// of 19 bytes and more there is one for 16 bytes of text. That is why this needs no vector
// instructions, and is the same everywhere.
//
// A bit that is set leads to the bucket of blocks with that hash. Each of those that is really
// there says which pattern may have begun how far before, and Rendering::MatchAt says whether it
// did. The looks go through the text in order and what they cover does not overlap, so the first
// one with a match has the leftmost match; of those at one place the longest is taken, of equal
// ones the earliest pattern.
//
// At the end of a text that may go on, a spelling may have begun with too little of it there to
// have a block in a look. These last places, fewer than stride + 4, are tried one by one.
//
// A text that pauses is shown further, or a message whose last bytes happen to begin a value would
// stall who waits for it. How far is a matter of the places where a spelling is open; the first that
// tells too much of a value ends it.
//
// Cost that an attacker can cause: a text of near misses costs as much more as a value is long. Who
// can write near misses knows the value. What holds still is that no text costs memory.

#include "secrets/scrub_set.h"

#include <string.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace sallyport::secrets {
namespace {

constexpr int kBackBits = 8;
static_assert(ScrubValue::kMaxStride <= 1 << kBackBits);
/// Patterns have the rest of an entry's 32 bits: more than fit any memory that can be locked.
constexpr size_t kMaxPatterns = size_t{1} << (32 - kBackBits);

/// One bit in 32 is set at most, until the filter is as large as it may be for the second cache.
constexpr size_t kFilterBitsPerEntry = 32;
constexpr size_t kMinFilterBits = size_t{1} << 15;
constexpr size_t kMaxFilterBits = size_t{1} << 21;
constexpr size_t kWordBits = 64;
constexpr size_t kBytes = 256;

uint32_t LoadBlock(const char* bytes) {
  uint32_t block = 0;
  memcpy(&block, bytes, kBlockSize);
  return block;
}

/// Its highest bits depend on all of BLOCK.
uint32_t Hash(uint32_t block) {
  return block * 0x9e3779b1U;
}

/// BEGINS has the number of items of group i in element i + 1: makes it where the groups begin.
void Accumulate(uint32_t* begins, size_t groups) {
  for (size_t i = 0; i < groups; ++i) begins[i + 1] += begins[i];
}

/// Putting each item where BEGINS says, one further each time, made the groups' ends of it. Makes
/// them their beginnings again.
void RestoreBegins(uint32_t* begins, size_t groups) {
  for (size_t i = groups; i > 0; --i) begins[i] = begins[i - 1];
  begins[0] = 0;
}

/// The first bytes of RENDERING's spellings, each once.
std::string FirstBytes(const Rendering& rendering) {
  Spellings scratch;
  const Spellings& spellings = SpellingsOf(rendering.At(rendering.begin()).symbol, scratch);
  std::string bytes;
  for (size_t i = 0; i < spellings.size(); ++i) {
    const char first = spellings[i].front();
    if (bytes.find(first) == std::string::npos) bytes += first;
  }
  return bytes;
}

size_t ByteOf(char c) {
  return static_cast<unsigned char>(c);
}

}  // namespace

Result<std::shared_ptr<const ScrubSet>> ScrubSet::Compile(std::vector<Item> items) {
  if (items.empty()) return nullptr;
  if (items.size() > kMaxPatterns / kForms.size()) return Fail(Code::kLimit, "too many secrets");
  std::shared_ptr<ScrubSet> set(new ScrubSet);
  set->items_ = std::move(items);
  set->AddPatterns();
  const Sizes sizes = set->Measure();
  if (Status memory = set->Allocate(sizes); !memory) {
    return tl::unexpected(std::move(memory).error());
  }
  set->FillBlocks(sizes.buckets);
  set->FillBeginnings();
  return set;
}

void ScrubSet::AddPatterns() {
  for (const Item& item : items_) {
    stride_ = std::min(stride_, item.value->stride());
    longest_spelling_ = std::max(longest_spelling_, item.value->longest_spelling());
    for (const Form form : kForms) patterns_.emplace_back(item.value->value(), form);
    most_told_.push_back(MostTold(item.value->value(), item.placeholder));
  }
}

ScrubSet::Sizes ScrubSet::Measure() const {
  Sizes sizes;
  for (const Item& item : items_) sizes.entries += item.value->blocks().size();
  for (const Rendering& pattern : patterns_) sizes.members += FirstBytes(pattern).size();
  sizes.buckets = std::bit_ceil(sizes.entries);
  const size_t bits =
      std::clamp(sizes.buckets * kFilterBitsPerEntry, kMinFilterBits, kMaxFilterBits);
  sizes.filter_words = bits / kWordBits;
  return sizes;
}

/// All in one, the widest first, so that each is aligned.
Status ScrubSet::Allocate(const Sizes& sizes) {
  const size_t numbers = sizes.buckets + 1 + kBytes + 1 + sizes.members;
  Result<LockedMemory> memory =
      LockedMemory::Create(sizes.filter_words * sizeof(uint64_t) + sizes.entries * sizeof(Entry) +
                           numbers * sizeof(uint32_t));
  if (!memory) return tl::unexpected(std::move(memory).error());
  memory_ = *std::move(memory);
  filter_ = reinterpret_cast<uint64_t*>(memory_.data());
  entries_ = reinterpret_cast<Entry*>(filter_ + sizes.filter_words);
  buckets_ = reinterpret_cast<uint32_t*>(entries_ + sizes.entries);
  begins_ = buckets_ + sizes.buckets + 1;
  members_ = begins_ + kBytes + 1;
  bucket_shift_ = 32 - std::countr_zero(sizes.buckets);
  filter_shift_ = 32 - std::countr_zero(sizes.filter_words * kWordBits);
  return {};
}

void ScrubSet::FillBlocks(size_t buckets) {
  const auto for_each = [this](auto visit) {
    for (size_t item = 0; item < items_.size(); ++item) {
      for (const Block& block : items_[item].value->blocks()) {
        if (block.back < stride_) visit(item, block);
      }
    }
  };
  for_each([&](size_t, const Block& block) {
    const uint32_t hash = Hash(block.bytes);
    const uint32_t bit = hash >> filter_shift_;
    filter_[bit / kWordBits] |= uint64_t{1} << (bit % kWordBits);
    ++buckets_[(hash >> bucket_shift_) + 1];
  });
  Accumulate(buckets_, buckets);
  for_each([&](size_t item, const Block& block) {
    const size_t pattern = item * kForms.size() + static_cast<size_t>(block.form);
    const auto packed = static_cast<uint32_t>(pattern << kBackBits | block.back);
    entries_[buckets_[Hash(block.bytes) >> bucket_shift_]++] = {block.bytes, packed};
  });
  RestoreBegins(buckets_, buckets);
}

void ScrubSet::FillBeginnings() {
  const auto for_each = [this](auto visit) {
    for (size_t i = 0; i < patterns_.size(); ++i) {
      for (const char first : FirstBytes(patterns_[i])) visit(i, ByteOf(first));
    }
  };
  for_each([this](size_t, size_t first) { ++begins_[first + 1]; });
  Accumulate(begins_, kBytes);
  for_each([this](size_t pattern, size_t first) {
    members_[begins_[first]++] = static_cast<uint32_t>(pattern);
  });
  RestoreBegins(begins_, kBytes);
}

std::string ScrubSet::Replacement(size_t pattern) const {
  return patterns_[pattern].Replacement(items_[pattern / kForms.size()].placeholder);
}

bool ScrubSet::MayBeBlock(uint32_t block) const {
  const uint32_t bit = Hash(block) >> filter_shift_;
  return (filter_[bit / kWordBits] >> (bit % kWordBits) & 1) != 0;
}

std::span<const ScrubSet::Entry> ScrubSet::Bucket(uint32_t block) const {
  const uint32_t* const begin = buckets_ + (Hash(block) >> bucket_shift_);
  return {entries_ + begin[0], begin[1] - begin[0]};
}

std::optional<ScrubSet::Match> ScrubSet::Find(std::string_view text, size_t from,
                                              Ending ending) const {
  size_t at = from + stride_ - 1;
  for (; at + kBlockSize <= text.size(); at += stride_) {
    if (!MayBeBlock(LoadBlock(text.data() + at))) continue;
    if (auto match = FindAround(text, from, at, ending)) return match;
  }
  if (ending == Ending::kFinal) return std::nullopt;
  return FindOpen(text, at - (stride_ - 1));
}

/// The first match that begins in the stride up to AT.
std::optional<ScrubSet::Match> ScrubSet::FindAround(std::string_view text, size_t from, size_t at,
                                                    Ending ending) const {
  std::optional<Match> best;
  const uint32_t block = LoadBlock(text.data() + at);
  for (const Entry& entry : Bucket(block)) {
    if (entry.block != block) continue;
    const size_t back = entry.pattern_and_back & ((1U << kBackBits) - 1);
    if (back > at - from) continue;  // Within what is settled.
    Consider(text, at - back, entry.pattern_and_back >> kBackBits, ending, best);
  }
  return best;
}

/// The first place from FROM on, too near to the end for a whole spelling, where one may begin.
std::optional<ScrubSet::Match> ScrubSet::FindOpen(std::string_view text, size_t from) const {
  std::optional<Match> best;
  for (size_t at = from; at < text.size() && !best; ++at) {
    const size_t first = ByteOf(text[at]);
    for (uint32_t i = begins_[first]; i < begins_[first + 1] && !best; ++i) {
      Consider(text, at, members_[i], Ending::kMayGoOn, best);
    }
  }
  return best;
}

size_t ScrubSet::MostTold(std::string_view value, std::string_view placeholder) {
  const auto known = std::mismatch(value.begin(), value.end(), placeholder.begin(),
                                   placeholder.end()).first - value.begin();
  const auto unknown = value.size() - static_cast<size_t>(known);
  return static_cast<size_t>(known) + std::min(kMostUnknownTold, unknown / 4);
}

size_t ScrubSet::MayShow(std::string_view text) const {
  for (size_t at = 0; at < text.size(); ++at) {
    const size_t first = ByteOf(text[at]);
    for (uint32_t i = begins_[first]; i < begins_[first + 1]; ++i) {
      const Rendering::Reach reach = patterns_[members_[i]].MatchAt(text.substr(at));
      const bool too_much = reach.open && reach.told > most_told_[members_[i] / kForms.size()];
      if (reach.whole != 0 || too_much) return at;
    }
  }
  return text.size();
}

void ScrubSet::Consider(std::string_view text, size_t at, size_t pattern, Ending ending,
                        std::optional<Match>& best) const {
  if (best && best->at < at) return;
  const Rendering::Reach reach = patterns_[pattern].MatchAt(text.substr(at));
  const bool open = reach.open && ending == Ending::kMayGoOn;
  if (reach.whole == 0 && !open) return;
  if (!best || at < best->at) {
    best = {at, reach.whole, pattern, open};
    return;
  }
  best->open |= open;
  const bool better =
      reach.whole > best->size || (reach.whole == best->size && pattern < best->pattern);
  if (better) {
    best->size = reach.whole;
    best->pattern = pattern;
  }
}

}  // namespace sallyport::secrets
