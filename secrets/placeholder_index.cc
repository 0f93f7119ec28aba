#include "secrets/placeholder_index.h"

#include <algorithm>
#include <utility>

#include "secrets/anchor_scan.h"

namespace sallyport::secrets {

/// What stands around one anchor of a text.
struct PlaceholderIndex::Candidate {
  enum class Kind {
    kNone,
    kWhole,  ///< A placeholder.
    kCut,    ///< The beginning of one, up to the end of the text.
  };
  Kind kind = Kind::kNone;
  Match match;
};

Result<PlaceholderIndex> PlaceholderIndex::Create(std::string anchor) {
  if (anchor.empty()) return Fail(Code::kInvalid, "the anchor is empty");
  for (size_t size = 1; size < anchor.size(); ++size) {
    if (anchor.ends_with(std::string_view(anchor).substr(0, size))) {
      return Fail(Code::kInvalid, "the anchor ends with its own beginning");
    }
  }
  return PlaceholderIndex(std::move(anchor));
}

Status PlaceholderIndex::Add(std::string placeholder) {
  const size_t at = placeholder.find(anchor_);
  if (at == std::string::npos || placeholder.find(anchor_, at + 1) != std::string::npos) {
    return Fail(Code::kInvalid, "the placeholder does not have the anchor exactly once");
  }
  const size_t key_at = at + anchor_.size();
  if (placeholder.size() < key_at + kKeySize) {
    return Fail(Code::kInvalid, "the placeholder has too little behind its anchor");
  }
  if (!by_key_.emplace(placeholder.substr(key_at, kKeySize), entries_.size()).second) {
    return Fail(Code::kInvalid, "the placeholder is too like another one");
  }
  std::string head = placeholder.substr(0, key_at);
  longest_head_ = std::max(longest_head_, head.size());
  if (std::find(heads_.begin(), heads_.end(), head) == heads_.end()) {
    heads_.push_back(std::move(head));
  }
  entries_.push_back({std::move(placeholder), at});
  return {};
}

std::vector<PlaceholderIndex::Match> PlaceholderIndex::FindAll(std::string_view text) const {
  if (text.size() < anchor_.size() + kKeySize) return {};  // Most names and many values.
  return ScanAnchors(text).matches;
}

PlaceholderIndex::Scan PlaceholderIndex::ScanStream(std::string_view text) const {
  AnchorScan scan = ScanAnchors(text);
  const size_t settled = scan.cut_at ? *scan.cut_at : CutHead(text, scan.end_of_last);
  return {std::move(scan.matches), settled};
}

PlaceholderIndex::AnchorScan PlaceholderIndex::ScanAnchors(std::string_view text) const {
  AnchorScan scan;
  size_t anchor_at = FindAnchor(text, anchor_, 0);
  while (anchor_at != std::string_view::npos) {
    const Candidate candidate = AtAnchor(text, scan.end_of_last, anchor_at);
    if (candidate.kind == Candidate::Kind::kCut) {
      // Were there a match behind, this candidate would have a second anchor in it.
      scan.cut_at = candidate.match.at;
      return scan;
    }
    size_t next = anchor_at + anchor_.size();
    if (candidate.kind == Candidate::Kind::kWhole) {
      scan.matches.push_back(candidate.match);
      scan.end_of_last = next = candidate.match.at + candidate.match.size;
    }
    anchor_at = FindAnchor(text, anchor_, next);
  }
  return scan;
}

PlaceholderIndex::Candidate PlaceholderIndex::AtAnchor(std::string_view text, size_t from,
                                                       size_t anchor_at) const {
  const std::string_view key = text.substr(anchor_at + anchor_.size()).substr(0, kKeySize);
  if (key.size() < kKeySize) return AtCutAnchor(text, from, anchor_at);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return {};
  return Compare(text, from, anchor_at, found->second);
}

/// Too near to the end for a lookup: of all placeholders that the text may be the beginning of, the
/// one that begins first. This happens at most once a scan, in its last bytes.
PlaceholderIndex::Candidate PlaceholderIndex::AtCutAnchor(std::string_view text, size_t from,
                                                          size_t anchor_at) const {
  Candidate first;
  for (Id id = 0; id < entries_.size(); ++id) {
    const Candidate candidate = Compare(text, from, anchor_at, id);
    if (candidate.kind == Candidate::Kind::kNone) continue;
    const bool earlier =
        first.kind == Candidate::Kind::kNone || candidate.match.at < first.match.at;
    if (earlier) first = candidate;
  }
  return first;
}

PlaceholderIndex::Candidate PlaceholderIndex::Compare(std::string_view text, size_t from,
                                                      size_t anchor_at, Id id) const {
  const Entry& entry = entries_[id];
  if (anchor_at - from < entry.anchor_at) return {};
  const size_t at = anchor_at - entry.anchor_at;
  const std::string_view there = text.substr(at, entry.placeholder.size());
  if (!std::string_view(entry.placeholder).starts_with(there)) return {};
  const bool whole = there.size() == entry.placeholder.size();
  return {whole ? Candidate::Kind::kWhole : Candidate::Kind::kCut, {at, there.size(), id}};
}

/// Where the end of TEXT begins that may be the beginning of a prefix and an anchor.
size_t PlaceholderIndex::CutHead(std::string_view text, size_t from) const {
  const size_t reach = longest_head_ == 0 ? 0 : longest_head_ - 1;
  size_t at = text.size() - std::min(text.size() - from, reach);
  for (; at < text.size(); ++at) {
    const std::string_view end = text.substr(at);
    const bool fits = std::any_of(heads_.begin(), heads_.end(), [end](std::string_view head) {
      return end.front() == head.front() && end.size() < head.size() && head.starts_with(end);
    });
    if (fits) break;
  }
  return at;
}

}  // namespace sallyport::secrets
