#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "secrets/body_plan.h"
#include "secrets/spelled_text.h"

namespace sallyport::secrets {

/// Says what each placeholder of one body becomes, and keeps the account of it.
class BodyJudge {
 public:
  /// Whether a placeholder stands where its format holds data: in a string of JSON, in the body of
  /// a part.
  enum class Where { kData, kElsewhere };
  /// Whether its first bytes went out at a pause.
  enum class Begun { kNo, kSent };

  /// All outlive the object.
  BodyJudge(const Entries& entries, const BodyPlan& plan, Examination& found)
      : entries_(entries), plan_(plan), found_(found) {}

  /// What takes the place of placeholder ID, spelled in SIZE bytes; nothing: it stays.
  std::optional<std::string_view> ValueFor(size_t id, size_t size, Where where, Begun begun);

  /// kDenied once something was met that ends the request.
  Status Check() const;

  Encoding encoding() const { return EncodingOf(plan_.type.format); }

 private:
  bool Fits(const Entry& entry, size_t size) const;

  const Entries& entries_;
  const BodyPlan& plan_;
  Examination& found_;
};

/// Replaces placeholders in a part of a body that is spelled in one way from its first byte to its
/// last, and arrives in pieces of any size. The output does not depend on how it was cut.
class SectionSubstituter {
 public:
  /// INDEX and JUDGE outlive the object.
  SectionSubstituter(const PlaceholderIndex& index, BodyJudge& judge, Spelling spelling)
      : index_(index), judge_(judge), spelling_(spelling) {}

  /// As ByteFilter. Held back are bytes that may still become a placeholder: less than the longest
  /// as it may be spelled, at most six bytes for each of its characters.
  Status Feed(std::string_view input, BodyJudge::Where where, std::string& out);

  /// Puts out what is held back, though a placeholder may have begun with it, unless it has the
  /// whole anchor. Where one did, it can't be replaced any more.
  void Pause(std::string& out);

  /// Ends the section. Another one may follow.
  Status Finish(BodyJudge::Where where, std::string& out);

  /// How many bytes are held back and were not put out at a pause.
  size_t held() const { return held_.size() - sent_; }

 private:
  Result<size_t> Settle(std::string_view text, SpelledText::End end, BodyJudge::Where where,
                        std::string& out);

  const PlaceholderIndex& index_;
  BodyJudge& judge_;
  const Spelling spelling_;
  SpelledText::Start start_ = SpelledText::Start::kOutside;
  std::string held_;  // As it arrived: never a part of a value.
  size_t sent_ = 0;   // Its first bytes, which went out at a pause.
};

}  // namespace sallyport::secrets
