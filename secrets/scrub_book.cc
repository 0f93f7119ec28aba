#include "secrets/scrub_book.h"

#include <algorithm>
#include <utility>

#include "secrets/scrub_filter.h"

namespace sallyport::secrets {
Result<std::shared_ptr<const ScrubValue>> ScrubBook::Prepare(std::string_view value) {
  if (value.size() < kShortestValue) return nullptr;
  return ScrubValue::Create(value);
}

bool ScrubBook::Shows(std::string_view text) const {
  return messages_ && Contains(*messages_, text);
}

Status ScrubBook::Put(size_t id, std::shared_ptr<const ScrubValue> value,
                      const std::string& placeholder, Scope scope) {
  Values values = values_;
  values.Retire(id);
  if (value) {
    // A value that comes back is not needed twice.
    std::erase_if(values.retired, [&](const Known& known) {
      return known.id == id && known.item.value->value() == value->value();
    });
    const auto behind = std::find_if(values.current.begin(), values.current.end(),
                                     [id](const Known& known) { return known.id > id; });
    values.current.insert(behind, {id, scope, {std::move(value), placeholder}});
  }
  Result<Sets> sets = Compile(values);
  if (!sets) return tl::unexpected(std::move(sets).error());
  values_ = std::move(values);
  Use(*std::move(sets));
  return {};
}

void ScrubBook::Retire(size_t id) {
  values_.Retire(id);
  // Where there is no memory for the sets without what was forgotten, those with it stay.
  if (Result<Sets> sets = Compile(values_)) Use(*std::move(sets));
}

void ScrubBook::Use(Sets sets) {
  *answers_ = std::move(sets.answers);
  messages_ = std::move(sets.messages);
}

void ScrubBook::Values::Retire(size_t id) {
  const auto is_id = [id](const Known& known) { return known.id == id; };
  const auto found = std::find_if(current.begin(), current.end(), is_id);
  if (found == current.end()) return;
  retired.push_back(std::move(*found));
  current.erase(found);
  if (retired.size() > kMaxRetired) retired.pop_front();
}

Result<ScrubBook::Sets> ScrubBook::Compile(const Values& values) {
  std::vector<ScrubSet::Item> answers;
  std::vector<ScrubSet::Item> messages;
  const auto take = [&](const Known& known) {
    messages.push_back(known.item);
    if (known.scope == Scope::kAnswers) answers.push_back(known.item);
  };
  std::for_each(values.current.begin(), values.current.end(), take);
  std::for_each(values.retired.begin(), values.retired.end(), take);
  const bool same = answers.size() == messages.size();
  Sets sets;
  Result<std::shared_ptr<const ScrubSet>> made = ScrubSet::Compile(std::move(messages));
  if (!made) return tl::unexpected(std::move(made).error());
  sets.messages = *std::move(made);
  sets.answers = sets.messages;
  if (same) return sets;
  made = ScrubSet::Compile(std::move(answers));
  if (!made) return tl::unexpected(std::move(made).error());
  sets.answers = *std::move(made);
  return sets;
}

}  // namespace sallyport::secrets
