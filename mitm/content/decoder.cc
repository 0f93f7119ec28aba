#include "mitm/content/decoder.h"

#include <utility>

#include "mitm/limits.h"

// A stage asks the one before it for input when it has used up what it has. What passes between
// two stages in one call is bounded: a bomb of empty gzip members inside brotli makes no output at
// all, which otherwise nothing would stop.

namespace sallyport::mitm::content {
namespace {

/// What passes from a coding to the next at a time.
constexpr size_t kBetween = 16 * 1024;

std::unique_ptr<CodingDecoder> MakeDecoder(Coding coding, DecoderMemory& memory) {
  switch (coding) {
    case Coding::kGzip:
      return MakeGzipDecoder(memory);
    case Coding::kDeflate:
      return MakeDeflateDecoder(memory);
    case Coding::kBrotli:
      return MakeBrotliDecoder(memory);
    case Coding::kZstd:
      break;
  }
  return MakeZstdDecoder(memory);
}

}  // namespace

ContentDecoder::ContentDecoder(const std::vector<Coding>& codings, DecoderMemory& memory) {
  for (auto coding = codings.rbegin(); coding != codings.rend(); ++coding) {
    stages_.push_back({*coding, MakeDecoder(*coding, memory), {}, 0});
  }
}

Result<ContentDecoder::Progress> ContentDecoder::Decode(std::string_view& input, size_t max,
                                                        std::string& out) {
  work_ = 0;
  return Run(stages_.size() - 1, input, max, out);
}

Result<ContentDecoder::Progress> ContentDecoder::Run(size_t index, std::string_view& input,
                                                     size_t max, std::string& out) {
  Stage& stage = stages_[index];
  const size_t goal = out.size() + max;
  if (index == 0) {
    if (Status done = RunOne(stage, input, max, out); !done) {
      return tl::unexpected(std::move(done).error());
    }
    return out.size() == goal ? Progress::kMore : Progress::kNeedsInput;
  }
  for (;;) {
    std::string_view rest = std::string_view(stage.input).substr(stage.used);
    if (Status done = RunOne(stage, rest, goal - out.size(), out); !done) {
      return tl::unexpected(std::move(done).error());
    }
    stage.used = stage.input.size() - rest.size();
    if (out.size() == goal || work_ >= kMaxDecoderWork) return Progress::kMore;
    stage.input.clear();
    stage.used = 0;
    auto before = Run(index - 1, input, kBetween, stage.input);
    if (!before) return before;
    work_ += stage.input.size();
    if (stage.input.empty()) return before;
  }
}

Status ContentDecoder::RunOne(Stage& stage, std::string_view& input, size_t max, std::string& out) {
  Status done = stage.decoder->Decode(input, max, out);
  if (!done) return tl::unexpected(std::move(done).error().In(ToString(stage.coding)));
  return done;
}

Status ContentDecoder::Finish() const {
  for (const Stage& stage : stages_) {
    if (stage.decoder->complete()) continue;
    return Fail(Code::kInvalid, std::string(ToString(stage.coding)) + ": it is cut off");
  }
  return {};
}

}  // namespace sallyport::mitm::content
