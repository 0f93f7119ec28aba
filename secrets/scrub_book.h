#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "secrets/scrub_set.h"

namespace sallyport::secrets {

/// Which values are to be found, and what stands for each: those in use and those that were.
class ScrubBook {
 public:
  /// So many values that are not in use any more are remembered, of all secrets together; of more
  /// the oldest is forgotten. Each locks a page or two. For one secret that lasts an hour: ten
  /// days.
  static constexpr size_t kMaxRetired = 256;

  /// Whether answers are searched for a value, or only our own messages.
  enum class Scope { kAnswers, kMessages };

  /// VALUE as Put() takes it: null when it is too short to be found. kLimit when memory can't be
  /// locked.
  static Result<std::shared_ptr<const ScrubValue>> Prepare(std::string_view value);

  /// Whether TEXT has a rendering of a value in it.
  bool Shows(std::string_view text) const;

  /// From now on VALUE is the one of secret ID, and PLACEHOLDER stands for it; the value before is
  /// retired. Changes nothing when it fails: kLimit.
  Status Put(size_t id, std::shared_ptr<const ScrubValue> value, const std::string& placeholder,
             Scope scope);

  /// ID has no value any more; the one it had is still found.
  void Retire(size_t id);

  /// Null when there is nothing to find.
  const std::shared_ptr<const ScrubSet>& for_answers() const { return *answers_; }
  const std::shared_ptr<const ScrubSet>& for_messages() const { return messages_; }
  /// Where for_answers() is, for who is to see it change. It outlives the book.
  std::shared_ptr<const std::shared_ptr<const ScrubSet>> current_for_answers() const {
    return answers_;
  }

 private:
  struct Known {
    size_t id = 0;
    Scope scope = Scope::kAnswers;
    ScrubSet::Item item;
  };
  struct Values {
    std::vector<Known> current;  ///< By id, at most one of each.
    std::deque<Known> retired;   ///< The oldest first.

    void Retire(size_t id);
  };
  struct Sets {
    std::shared_ptr<const ScrubSet> answers;
    std::shared_ptr<const ScrubSet> messages;  ///< The same one where they would be equal.
  };

  static Result<Sets> Compile(const Values& values);
  void Use(Sets sets);

  Values values_;
  const std::shared_ptr<std::shared_ptr<const ScrubSet>> answers_ =
      std::make_shared<std::shared_ptr<const ScrubSet>>();
  std::shared_ptr<const ScrubSet> messages_;
};

}  // namespace sallyport::secrets
