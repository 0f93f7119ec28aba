#include "secrets/scrub_filter.h"

#include <algorithm>
#include <utility>

#include "secrets/secret.h"

namespace sallyport::secrets {
namespace {

/// Strings of less live inside the std::string object, and each move would leave a copy behind.
constexpr size_t kAlwaysOnHeap = 32;

using Lengths = AnswerFilter::Lengths;

/// What stands for MATCH. A replacement that is too short is repeated: nothing else is so unlikely
/// to have a value in it. Each form stays what it is when it is cut where the value ended.
std::string ReplacementOf(const ScrubSet& set, const ScrubSet::Match& match, Lengths lengths) {
  std::string text = set.Replacement(match.pattern);
  if (lengths == Lengths::kMayChange) return text;
  const size_t size = text.size();
  text.resize(match.size);
  for (size_t i = size; i < match.size; ++i) text[i] = text[i - size];
  return text;
}

struct Settled {
  size_t size = 0;  ///< Of the text.
  bool changed = false;
};

/// Appends to OUT what is settled of TEXT but for its first SHOWN bytes, which went out as they are.
/// A match may begin in those, but never ends there.
Settled SettleText(const ScrubSet& set, std::string_view text, size_t shown,
                   ScrubSet::Ending ending, Lengths lengths, std::string& out) {
  Settled settled;
  size_t& done = settled.size;
  const auto go_to = [&](size_t to) {
    const size_t from = std::max(done, shown);
    if (from < to) out += text.substr(from, to - from);
    done = to;
  };
  while (const auto match = set.Find(text, done, ending)) {
    go_to(match->at);
    if (match->open) return settled;
    const std::string replacement = ReplacementOf(set, *match, lengths);
    const size_t begun = std::min(shown - std::min(shown, done), replacement.size());
    out.append(replacement, begun);
    settled.changed = true;
    done += match->size;
  }
  go_to(text.size());
  return settled;
}

}  // namespace

bool Contains(const ScrubSet& set, std::string_view text) {
  return set.Find(text, 0, ScrubSet::Ending::kFinal).has_value();
}

std::optional<std::string> Scrubbed(const ScrubSet& set, std::string_view text) {
  if (!Contains(set, text)) return std::nullopt;
  std::string out;
  SettleText(set, text, 0, ScrubSet::Ending::kFinal, Lengths::kMayChange, out);
  return out;
}

bool ScrubFields(const ScrubSet& set, Headers& fields) {
  bool changed = false;
  for (HeaderField& field : fields.fields()) {
    std::optional<std::string> value = Scrubbed(set, field.value);
    const bool named = Contains(set, field.name);
    if (!value && !named) continue;
    changed = true;
    WipeString(field.value);
    if (value) field.value = *std::move(value);
    if (named) WipeString(field.name);  // It goes below.
  }
  if (!changed) return false;
  std::erase_if(fields.fields(), [](const HeaderField& field) { return field.name.empty(); });
  return true;
}

ScrubFilter::~ScrubFilter() {
  WipeString(held_);
}

// What is held back is looked at together with as much of the input as the longest spelling may
// take; behind that the input is looked at where it is, and a body without values is never copied
// but to OUT.
Status ScrubFilter::Feed(std::string_view input, std::string& out) {
  Renew();
  if (!held_.empty()) {
    std::string joint;
    const std::string_view more = input.substr(0, set_->longest_spelling());
    joint.reserve(std::max(held_.size() + more.size(), kAlwaysOnHeap));
    joint.append(held_).append(more);
    const size_t settled = Settle(joint, ScrubSet::Ending::kMayGoOn, out);
    const size_t held = held_.size();
    if (settled < held) {
      Hold(std::string_view(joint).substr(settled));  // All of the input is in it.
      input = {};
    } else {
      Hold({});
      input.remove_prefix(settled - held);
    }
    WipeString(joint);
  }
  const size_t settled = Settle(input, ScrubSet::Ending::kMayGoOn, out);
  if (settled < input.size()) Hold(input.substr(settled));
  return {};
}

// The usual piece: nothing was held back, and no value is in it.
std::optional<size_t> ScrubFilter::Pass(std::string_view input) {
  Renew();
  if (!held_.empty()) return std::nullopt;
  const auto match = set_->Find(input, 0, ScrubSet::Ending::kMayGoOn);
  if (!match) return input.size();
  if (!match->open) return std::nullopt;
  Hold(input.substr(match->at));
  return match->at;
}

// It stays held, as a rendering may have begun with it; but none is whole in it (MayShow).
void ScrubFilter::Pause(std::string& out) {
  Renew();
  const size_t may = set_->MayShow(held_);
  if (may <= shown_) return;
  out.append(held_, shown_, may - shown_);
  shown_ = may;
}

Status ScrubFilter::Finish(std::string& out) {
  Renew();
  Settle(held_, ScrubSet::Ending::kFinal, out);
  Hold({});
  return {};
}

/// What is held back is looked at anew each time, so it may be with another set.
void ScrubFilter::Renew() {
  if (*current_ != nullptr) set_ = *current_;
}

/// Appends to OUT what is settled of TEXT, and returns how much of TEXT that was.
size_t ScrubFilter::Settle(std::string_view text, ScrubSet::Ending ending, std::string& out) {
  const Settled settled = SettleText(*set_, text, shown_, ending, lengths_, out);
  shown_ -= std::min(shown_, settled.size);
  if (settled.changed) changed_ = true;
  return settled.size;
}

void ScrubFilter::Hold(std::string_view bytes) {
  std::string held;
  if (!bytes.empty()) held.reserve(std::max(bytes.size(), kAlwaysOnHeap));
  held += bytes;
  WipeString(held_);
  held_ = std::move(held);
}

}  // namespace sallyport::secrets
