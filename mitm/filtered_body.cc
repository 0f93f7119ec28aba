#include "mitm/filtered_body.h"

#include <algorithm>
#include <utility>

#include "secrets/secret.h"

// A step takes one piece from the source, or a slice's worth of output from the decoder, and passes
// it through the filter. Steps are made only while less than a fill of output waits, so this and
// one slice's output is all that is ever held; Gather() is the exception that says so. A piece that
// the filter leaves as it is goes on from where it is.

namespace sallyport::mitm {
namespace {

using Kind = MessageEvent::Kind;
using content::ContentDecoder;

constexpr MessageEvent kWentOn{Kind::kBody, {}};

Error Shows() {
  return {Code::kInvalid, "it shows a secret, in a content coding that was not asked for"};
}

}  // namespace

MessageEvent FilteredBody::Read(const Source& source, size_t max) {
  DropReturned();
  for (int idle = 0; held() < options_.fill && idle < kMaxIdleSteps && !ended_ && !stopped_;) {
    const size_t before = held();
    const MessageEvent event = Step(source, max);
    if (!event.piece.empty()) return event;
    if (event.kind == Kind::kWouldBlock) {
      if (options_.pauses == Pauses::kAtOnce) Pause();
      if (held() == 0 && !stopped_) return event;
      break;
    }
    if (held() == before) ++idle;
  }
  if (held() > 0) {
    const std::string_view piece = std::string_view(out_).substr(used_, max);
    returned_ = piece.size();
    return {Kind::kBody, piece};
  }
  if (stopped_) return {*stopped_, {}};
  return ended_ ? MessageEvent{Kind::kEnd, {}} : kWentOn;
}

void FilteredBody::Pause() {
  if (ended_ || stopped_) return;
  const size_t before = out_.size();
  if (options_.output == Output::kFiltered) {
    options_.filter->Pause(out_);
  } else {
    std::string filtered;
    options_.filter->Pause(filtered);
    if (Status same = Compare({}, filtered); !same) Fail(same.error());
  }
  settled_ += out_.size() - std::min(before, out_.size());
}

MessageEvent::Kind FilteredBody::Gather(const Source& source, size_t bound) {
  for (int idle = 0; idle < kMaxIdleSteps && held() <= bound;) {
    if (ended_) return Kind::kEnd;
    if (stopped_) return *stopped_;
    const size_t before = held();
    const MessageEvent event = Step(source, 0);
    if (event.kind != Kind::kBody && event.kind != Kind::kEnd) return event.kind;
    idle = held() == before && decoding_ ? idle + 1 : 0;
  }
  return Kind::kBody;
}

/// Of a piece of up to MAY_PASS bytes that is to go on from where it is, the event has those bytes.
MessageEvent FilteredBody::Step(const Source& source, size_t may_pass) {
  if (out_.capacity() < options_.reserve) out_.reserve(options_.reserve);
  const size_t before = out_.size();
  const MessageEvent event = Advance(source, may_pass);
  if (event.kind == Kind::kError) return event;
  settled_ += out_.size() - before + event.piece.size();
  if (!options_.length) return event;
  // Never given out: on a connection, what is beyond the length would be another message.
  if (settled_ > *options_.length || (ended_ && settled_ < *options_.length)) {
    return Fail({400, "its length is not what was announced"});
  }
  return event;
}

MessageEvent FilteredBody::Advance(const Source& source, size_t may_pass) {
  if (decoding_) return Decode();
  const MessageEvent event = source(options_.slice);
  switch (event.kind) {
    case Kind::kBody:
      return Take(event.piece, may_pass);
    case Kind::kEnd:
      return Finish();
    case Kind::kError:
    case Kind::kBroken:
    case Kind::kHead:
      stopped_ = event.kind;
      return event;
    case Kind::kWouldBlock:
      break;
  }
  return event;
}

MessageEvent FilteredBody::Take(std::string_view piece, size_t may_pass) {
  if (!options_.decoder) {
    if (const auto passed = Pass(piece, may_pass)) return {Kind::kBody, piece.substr(0, *passed)};
    if (Status done = Filter(piece); !done) return Fail(done.error());
    return kWentOn;
  }
  coded_bytes_ += piece.size();
  coded_.assign(piece);
  coded_used_ = 0;
  decoding_ = true;
  if (options_.output == Output::kOriginal) {
    if (original_.bytes.size() + piece.size() > kMaxHeldOriginal) {
      return Fail({502, "it can't be looked through for secrets"});
    }
    original_.bytes.append(piece);
    original_.unmarked += piece.size();
  }
  return Decode();
}

/// How much of PIECE, which nothing else has to be put before or together with, the filter passes.
std::optional<size_t> FilteredBody::Pass(std::string_view piece, size_t may_pass) {
  const bool alone = held() == 0 && piece.size() >= options_.fill && piece.size() <= may_pass;
  return alone && !options_.wipe ? options_.filter->Pass(piece) : std::nullopt;
}

MessageEvent FilteredBody::Decode() {
  decoded_.clear();
  std::string_view rest = std::string_view(coded_).substr(coded_used_);
  const auto progress = options_.decoder->Decode(rest, options_.slice, decoded_);
  if (!progress) return Fail(progress.error());
  coded_used_ = coded_.size() - rest.size();
  decoding_ = *progress == ContentDecoder::Progress::kMore;
  decoded_bytes_ += decoded_.size();
  if (decoded_bytes_ > options_.max_decoded ||
      (decoded_bytes_ > kDecodeRatioFrom &&
       decoded_bytes_ / options_.max_ratio >= std::max<uint64_t>(coded_bytes_, 1))) {
    return Fail({413, "it is too large once it is decoded"});
  }
  if (Status done = Filter(decoded_); !done) return Fail(done.error());
  return kWentOn;
}

MessageEvent FilteredBody::Finish() {
  if (options_.decoder) {
    if (Status whole = options_.decoder->Finish(); !whole) return Fail(whole.error());
  }
  std::string last;
  const bool original = options_.output == Output::kOriginal;
  Status done = options_.filter->Finish(original ? last : out_);
  if (done && original) done = Compare({}, last);
  if (!done) return Fail(done.error());
  if (!original_.decoded.empty()) return Fail(Shows());
  ended_ = true;
  return {Kind::kEnd, {}};
}

Status FilteredBody::Filter(std::string_view bytes) {
  if (options_.output == Output::kFiltered) return options_.filter->Feed(bytes, out_);
  std::string filtered;
  if (Status done = options_.filter->Feed(bytes, filtered); !done) return done;
  return Compare(bytes, filtered);
}

/// DECODED was given to the filter, which settled FILTERED: the same bytes, as long as it found
/// nothing to change.
Status FilteredBody::Compare(std::string_view decoded, std::string_view filtered) {
  original_.decoded.append(decoded);
  if (!std::string_view(original_.decoded).starts_with(filtered)) {
    return tl::unexpected(Shows());
  }
  original_.decoded.erase(0, filtered.size());
  original_.settled += filtered.size();
  if (!decoding_) MarkHeld();
  ReleaseHeld();
  return {};
}

/// All that came so far is decoded.
void FilteredBody::MarkHeld() {
  if (original_.unmarked == 0) return;
  original_.marks.push_back({decoded_bytes_, original_.unmarked});
  original_.unmarked = 0;
}

void FilteredBody::ReleaseHeld() {
  while (!original_.marks.empty() && original_.marks.front().decoded <= original_.settled) {
    const size_t size = original_.marks.front().size;
    out_.append(original_.bytes, 0, size);
    original_.bytes.erase(0, size);
    original_.marks.pop_front();
  }
}

void FilteredBody::DropReturned() {
  used_ += std::exchange(returned_, 0);
  if (used_ == out_.size()) Clear();
}

void FilteredBody::Clear() {
  if (options_.wipe) secrets::WipeBytes(out_.data(), out_.size());
  out_.clear();
  used_ = returned_ = 0;
}

MessageEvent FilteredBody::Fail(const Error& error) {
  return Fail(ProtocolError{error.code() == Code::kLimit ? 413 : 400, error.message()});
}

MessageEvent FilteredBody::Fail(ProtocolError error) {
  Clear();
  error_ = std::move(error);
  stopped_ = Kind::kError;
  return {Kind::kError, {}};
}

}  // namespace sallyport::mitm
