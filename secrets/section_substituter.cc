#include "secrets/section_substituter.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "secrets/encodings.h"
#include "secrets/violation.h"

namespace sallyport::secrets {
namespace {

using Where = BodyJudge::Where;
using End = SpelledText::End;
using Start = SpelledText::Start;

/// VALUE in the place of SIZE bytes at AT, as they arrived.
struct Replacement {
  size_t at;
  size_t size;
  std::string_view value;
};

/// Appends TEXT from its byte DONE on; all REPLACEMENTS are behind that.
void Append(std::string_view text, size_t done, const std::vector<Replacement>& replacements,
            Encoding encoding, std::string& out) {
  size_t size = text.size();
  for (const Replacement& replacement : replacements) {
    size += EncodedSize(replacement.value, encoding);
  }
  ReserveWiped(out, size);
  for (const Replacement& replacement : replacements) {
    out += text.substr(done, replacement.at - done);
    AppendEncoded(out, replacement.value, encoding);
    done = replacement.at + replacement.size;
  }
  if (done < text.size()) out += text.substr(done);
}

}  // namespace

std::optional<std::string_view> BodyJudge::ValueFor(size_t id, size_t size, Where where,
                                                   Begun begun) {
  if (id >= plan_.violations.size()) return std::nullopt;  // Declared after the request.
  const Entry& entry = entries_[id];
  const auto violated = [&](Refusal refusal) {
    RecordViolation(entry, {Place::Kind::kOtherBody}, std::move(refusal), found_);
    return std::nullopt;
  };
  if (plan_.violations[id]) return violated(*plan_.violations[id]);
  if (where == Where::kElsewhere || (entry.value && !Fits(entry, size))) {
    return violated(MisplacedInBody(entry));
  }
  if (!entry.value) {
    if (!found_.refusal) found_.refusal = Unavailable(entry);
    return std::nullopt;
  }
  if (begun == Begun::kSent) {
    if (!found_.refusal) found_.refusal = TornInBody(entry);
    return std::nullopt;
  }
  AddOnce(found_.used, entry.spec.name);
  return entry.value->Reveal();
}

/// A body whose length was announced may not change it: not by a placeholder that is spelled in
/// another way than any client does, nor by a value that was rotated meanwhile.
bool BodyJudge::Fits(const Entry& entry, size_t size) const {
  return !plan_.keeps_length || EncodedSize(entry.value->Reveal(), encoding()) == size;
}

Status BodyJudge::Check() const {
  if (!found_.refusal) return {};
  return Fail(Code::kDenied, found_.refusal->detail);
}

Status SectionSubstituter::Feed(std::string_view input, Where where, std::string& out) {
  std::string_view text = input;
  if (!held_.empty()) {
    held_ += input;
    text = held_;
  }
  const Result<size_t> settled = Settle(text, End::kMayGoOn, where, out);
  if (!settled) return tl::unexpected(settled.error());
  if (held_.empty()) {
    held_ = text.substr(*settled);
  } else {
    held_.erase(0, *settled);
  }
  return {};
}

void SectionSubstituter::Pause(std::string& out) {
  if (sent_ == held_.size()) return;
  const SpelledText spelled(held_, spelling_, End::kMayGoOn, start_);
  if (spelled.meant().find(index_.anchor()) != std::string_view::npos) return;
  out.append(held_, sent_);
  sent_ = held_.size();
}

Status SectionSubstituter::Finish(Where where, std::string& out) {
  const std::string rest = std::exchange(held_, {});
  const Result<size_t> settled = Settle(rest, End::kFinal, where, out);
  start_ = Start::kOutside;
  if (!settled) return tl::unexpected(settled.error());
  return {};
}

/// Appends what TEXT settles of the output, and returns how much of TEXT that was.
Result<size_t> SectionSubstituter::Settle(std::string_view text, End end, Where where,
                                          std::string& out) {
  const SpelledText spelled(text, spelling_, end, start_);
  const PlaceholderIndex::Scan scan =
      end == End::kFinal
          ? PlaceholderIndex::Scan{index_.FindAll(spelled.meant()), spelled.meant().size()}
          : index_.ScanStream(spelled.meant());
  std::vector<Replacement> replacements;
  Start place = start_;
  size_t seen = 0;
  for (const auto& match : scan.matches) {
    const size_t at = spelled.RawAt(match.at);
    const size_t size = spelled.RawAt(match.at + match.size) - at;
    place = spelled.StartAt(match.at, std::exchange(seen, match.at), place);
    const bool data = spelling_ != Spelling::kJson || place == Start::kInString;
    const auto value = judge_.ValueFor(match.id, size, data ? where : Where::kElsewhere,
                                       at < sent_ ? BodyJudge::Begun::kSent : BodyJudge::Begun::kNo);
    if (value) replacements.push_back({at, size, *value});
  }
  if (Status allowed = judge_.Check(); !allowed) return tl::unexpected(std::move(allowed).error());
  const size_t settled = end == End::kFinal ? text.size() : spelled.RawAt(scan.settled);
  if (spelling_ == Spelling::kJson) start_ = spelled.StartAt(scan.settled, seen, place);
  Append(text.substr(0, settled), sent_, replacements, judge_.encoding(), out);
  sent_ -= std::min(sent_, settled);
  return settled;
}

}  // namespace sallyport::secrets
