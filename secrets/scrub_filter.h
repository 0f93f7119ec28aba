#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/http_message.h"
#include "secrets/answer_filter.h"
#include "secrets/scrub_set.h"

namespace sallyport::secrets {

/// Whether TEXT has a rendering of a value in SET in it.
bool Contains(const ScrubSet& set, std::string_view text);

/// TEXT with every rendering of a value in SET replaced; nothing when there is none. The result has
/// no value in it.
std::optional<std::string> Scrubbed(const ScrubSet& set, std::string_view text);

/// Scrubs the values of FIELDS, wipes what they were, and removes the fields whose name has a value
/// in it. Returns whether something changed.
bool ScrubFields(const ScrubSet& set, Headers& fields);

/// Scrubs a stream: leftmost first, the longest of those at one place, and then goes on behind it.
/// The whole output is Scrubbed() of the whole input, or as long as the input where lengths are
/// kept; and where it paused inside of a rendering, up to ScrubSet::MostTold() bytes of the value
/// stand there, in place of as many bytes of what stands for it. Never fails.
///
/// Held back is what a rendering may have begun with, and only that: at most longest_spelling() of
/// the set, less one. It is wiped when it goes. Pieces of one byte cost as many comparisons as are
/// held back. When the input pauses, what tells little enough of any value is shown, and held on as
/// far as a rendering may have begun with it. A value that is new while the stream runs is found
/// from there on.
class ScrubFilter final : public AnswerFilter {
 public:
  /// Where the set of now is: its owner puts another one there when secrets change.
  using Current = std::shared_ptr<const std::shared_ptr<const ScrubSet>>;

  /// What CURRENT has now is not null.
  explicit ScrubFilter(Current current, Lengths lengths = Lengths::kMayChange)
      : current_(std::move(current)), set_(*current_), lengths_(lengths) {}
  /// SET is not null.
  explicit ScrubFilter(std::shared_ptr<const ScrubSet> set, Lengths lengths = Lengths::kMayChange)
      : ScrubFilter(std::make_shared<const std::shared_ptr<const ScrubSet>>(std::move(set)),
                    lengths) {}
  ~ScrubFilter() override;

  Status Feed(std::string_view input, std::string& out) override;
  std::optional<size_t> Pass(std::string_view input) override;
  void Pause(std::string& out) override;
  Status Finish(std::string& out) override;

  size_t held() const { return held_.size(); }
  /// How many bytes of those have been put out.
  size_t shown() const { return shown_; }

 private:
  void Renew();
  size_t Settle(std::string_view text, ScrubSet::Ending ending, std::string& out);
  void Hold(std::string_view bytes);

  const Current current_;
  std::shared_ptr<const ScrubSet> set_;  // Of the latest Renew().
  const Lengths lengths_;
  std::string held_;  // As it arrived.
  size_t shown_ = 0;  // Its first bytes, which went out at a pause.
};

}  // namespace sallyport::secrets
