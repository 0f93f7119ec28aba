#include <utility>

#include "secrets/body_plan.h"
#include "secrets/multipart.h"
#include "secrets/section_substituter.h"

namespace sallyport::secrets {
namespace {

using Format = MediaType::Format;
using Section = MultipartReader::Section;
using Where = BodyJudge::Where;

Spelling SpellingOf(Format format) {
  if (format == Format::kJson) return Spelling::kJson;
  return format == Format::kUrlEncoded ? Spelling::kPercent : Spelling::kPlain;
}

/// A body that is one section: JSON, a form, text, or one of no kind that is put into, which is
/// only looked at.
class PlainBody final : public BodyFilter {
 public:
  PlainBody(const Entries& entries, const PlaceholderIndex& index, BodyPlan plan)
      : BodyFilter(plan.only_looks),
        plan_(std::move(plan)),
        judge_(entries, plan_, found_),
        section_(index, judge_, SpellingOf(plan_.type.format)) {}

  Status Feed(std::string_view input, std::string& out) override {
    return section_.Feed(input, Where::kData, out);
  }
  void Pause(std::string& out) override { section_.Pause(out); }
  bool holds() const override { return section_.held() > 0; }
  Status Finish(std::string& out) override { return section_.Finish(Where::kData, out); }

 private:
  const BodyPlan plan_;
  BodyJudge judge_;
  SectionSubstituter section_;
};

/// A form of several parts. No placeholder has a line break in it, so none lies across sections.
/// What may begin a boundary line waits through a pause: whoever reads the form waits for it, too.
class MultipartBody final : public BodyFilter {
 public:
  MultipartBody(const Entries& entries, const PlaceholderIndex& index, BodyPlan plan)
      : BodyFilter(plan.only_looks),
        plan_(std::move(plan)),
        judge_(entries, plan_, found_),
        reader_(plan_.type.boundary),
        bytes_(index, judge_, Spelling::kPlain) {}

  Status Feed(std::string_view input, std::string& out) override {
    while (!input.empty()) {
      if (Status status = Put(reader_.Next(input), out); !status) return status;
    }
    return {};
  }

  void Pause(std::string& out) override { bytes_.Pause(out); }
  bool holds() const override { return bytes_.held() > 0; }

  Status Finish(std::string& out) override {
    if (Status status = Put(reader_.Finish(), out); !status) return status;
    return bytes_.Finish(where_, out);
  }

 private:
  Status Put(const MultipartReader::Stretch& stretch, std::string& out) {
    if (stretch.bytes.empty()) return {};
    const Where where = stretch.section == Section::kPart ? Where::kData : Where::kElsewhere;
    if (where != where_) {
      if (Status ended = bytes_.Finish(where_, out); !ended) return ended;
      where_ = where;
    }
    return bytes_.Feed(stretch.bytes, where_, out);
  }

  const BodyPlan plan_;
  BodyJudge judge_;
  MultipartReader reader_;
  SectionSubstituter bytes_;  // Of the section that the last bytes belong to.
  Where where_ = Where::kElsewhere;
};

}  // namespace

std::unique_ptr<BodyFilter> MakeBodySubstituter(const Entries& entries,
                                                const PlaceholderIndex& index, BodyPlan plan) {
  if (plan.type.format == Format::kMultipart) {
    return std::make_unique<MultipartBody>(entries, index, std::move(plan));
  }
  return std::make_unique<PlainBody>(entries, index, std::move(plan));
}

}  // namespace sallyport::secrets
