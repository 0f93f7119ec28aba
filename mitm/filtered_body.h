#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/byte_filter.h"
#include "mitm/content/decoder.h"
#include "mitm/limits.h"
#include "mitm/message.h"

namespace sallyport::mitm {

/// A body as it is read through its content codings and a filter. It stands where the body itself
/// would be read, gives what is settled at once, and waits for nothing but what the filter holds
/// when the body pauses.
///
/// What it holds: one slice of input, `fill` bytes and what one slice became, and what Gather() was
/// asked to gather.
class FilteredBody {
 public:
  /// Reads the next of the body, as GuestSide::ReadBody() does.
  using Source = std::function<MessageEvent(size_t max)>;

  /// What is passed on of a coded body.
  enum class Output {
    kFiltered,  ///< What the filter made of the decoded body.
    kOriginal,  ///< The coded bytes as they came, as long as the filter changes nothing in them; an
                ///< error from where it would.
  };

  /// When the filter is told that the body pauses.
  enum class Pauses {
    kAtOnce,    ///< When the source has no more for now.
    kWhenTold,  ///< By Pause().
  };

  struct Options {
    std::unique_ptr<content::ContentDecoder> decoder = {};  ///< Null: no codings.
    std::unique_ptr<ByteFilter> filter = {};                ///< Never null.
    Output output = Output::kFiltered;
    Pauses pauses = Pauses::kAtOnce;
    size_t slice = kInputBlock;  ///< What the filter is given at a time.
    size_t fill = 1;             ///< Slices are put together up to this while the source has more.
    /// What the output is announced to be; any other length of it is an error.
    std::optional<uint64_t> length = {};
    /// The output gets values of secrets: it is wiped, and up to `reserve` bytes of it never move.
    bool wipe = false;
    size_t reserve = 0;
    uint64_t max_decoded = UINT64_MAX;
    uint64_t max_ratio = UINT64_MAX;  ///< Decoded to coded bytes, beyond kDecodeRatioFrom.
  };
  explicit FilteredBody(Options options) : options_(std::move(options)) {}
  ~FilteredBody() { Clear(); }
  FilteredBody(const FilteredBody&) = delete;
  FilteredBody& operator=(const FilteredBody&) = delete;

  /// The next of the output, like the event that SOURCE would give: kBody with at most MAX bytes,
  /// good until the next call, or with none, when others should have their turn before more is
  /// done; kEnd once everything was given; kError of the source's, or of the body's own (failed()).
  MessageEvent Read(const Source& source, size_t max);

  /// The body has paused for so long that who sends it may wait for what the filter holds: what the
  /// filter gives of that is read next.
  void Pause();

  /// Reads ahead until the end (kEnd), until more than BOUND bytes of output are held (kBody), or
  /// as far as SOURCE goes (kWouldBlock, kError, kBroken). Nothing may have been read before.
  MessageEvent::Kind Gather(const Source& source, size_t bound);

  /// The bytes of output that are held.
  size_t held() const { return out_.size() - used_; }

  /// After kError: whether the body itself is at fault, not its framing; then error() says why.
  bool failed() const { return error_.has_value(); }
  const ProtocolError& error() const { return *error_; }

 private:
  /// What kOriginal holds back.
  struct Held {
    std::string bytes;
    std::string decoded;  // That the filter has not settled yet.
    uint64_t settled = 0;
    struct Mark {
      uint64_t decoded;  // Once this much is settled,
      size_t size;       // this much more of `bytes` may go.
    };
    std::deque<Mark> marks;
    size_t unmarked = 0;  // Of `bytes`.
  };

  MessageEvent Step(const Source& source, size_t may_pass);
  MessageEvent Advance(const Source& source, size_t may_pass);
  MessageEvent Take(std::string_view piece, size_t may_pass);
  std::optional<size_t> Pass(std::string_view piece, size_t may_pass);
  MessageEvent Decode();
  MessageEvent Finish();
  Status Filter(std::string_view bytes);
  Status Compare(std::string_view decoded, std::string_view filtered);
  void MarkHeld();
  void ReleaseHeld();
  void DropReturned();
  void Clear();
  MessageEvent Fail(const Error& error);
  MessageEvent Fail(ProtocolError error);

  Options options_;
  std::string coded_;  // Input that is not decoded yet, from coded_used_ on.
  size_t coded_used_ = 0;
  bool decoding_ = false;  // The decoder has more to give.
  std::string decoded_;
  uint64_t coded_bytes_ = 0;
  uint64_t decoded_bytes_ = 0;

  uint64_t settled_ = 0;  // Bytes of output so far.
  std::string out_;       // Output, from used_ on not given yet.
  size_t used_ = 0;
  size_t returned_ = 0;  // Given by the last call, and still looked at.
  bool ended_ = false;
  std::optional<MessageEvent::Kind> stopped_;  // What the source ended with, if not the end.
  std::optional<ProtocolError> error_;
  Held original_;
};

}  // namespace sallyport::mitm
