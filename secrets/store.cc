#include "secrets/store.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "secrets/body_plan.h"
#include "secrets/entry.h"
#include "secrets/placeholder.h"
#include "secrets/placeholder_index.h"
#include "secrets/plan.h"
#include "secrets/scrub_book.h"
#include "secrets/scrub_filter.h"
#include "secrets/trailers.h"

namespace sallyport::secrets {
namespace {

/// Each locks a page for its value, one to look for it, and its part of the sets; the values that
/// are retired (ScrubBook) lock another MiB. 8 MiB may be locked on most hosts.
constexpr size_t kMaxSecrets = 512;
/// A placeholder that meets another one in 96 random bits is our generator's fault, not chance.
constexpr int kTries = 8;
/// What a placeholder is made like when there is no value: 40 letters and digits.
constexpr std::string_view kTypicalValue = "aA00000000000000000000000000000000000000";

using Scope = ScrubBook::Scope;

Scope ScopeOf(const SecretSpec& spec) {
  return spec.scrub ? Scope::kAnswers : Scope::kMessages;
}

Result<PlaceholderShape> ShapeFor(const SecretSpec& spec, std::string_view value) {
  if (!spec.placeholder) return ShapeOf(value);
  return ShapeOfForm(*spec.placeholder, value.size());
}

}  // namespace

struct Store::Impl {
  Entries entries;
  std::optional<PlaceholderIndex> index;  ///< None before the first secret.
  ScrubBook book;                         ///< Each value, by the same ids.
  uint64_t generation = 1;                ///< Goes up before anything changes: plans refer to values.

  using ToFind = std::shared_ptr<const ScrubValue>;

  Status Declare(SecretSpec spec, std::optional<Secret> value, std::string why);
  Status Prepare();
  Status AddPlaceholder(const PlaceholderShape& shape, const ToFind& value, Scope scope);
  Result<ToFind> PrepareValue(std::string_view value) const;
  Result<size_t> IdOf(std::string_view name) const;

  Status RedeclareOne(SecretSpec spec, std::map<std::string, Secret>& values,
                      const std::map<std::string, size_t>& known);
  Status CheckRedeclared(const Entry& before, const SecretSpec& spec, const Secret* value) const;
};

/// Everything else that can fail comes before the placeholder, whose id is the entry's place.
Status Store::Impl::Declare(SecretSpec spec, std::optional<Secret> value, std::string why) {
  if (entries.size() >= kMaxSecrets) return Fail(Code::kLimit, "more than 512 secrets");
  if (Status checked = CheckSpec(spec, entries); !checked) return checked;
  const std::string_view bytes = value ? value->Reveal() : kTypicalValue;
  if (Status checked = CheckValue(bytes, spec); !checked) return checked;
  if (Status checked = CheckValueFits(spec, bytes); !checked) return checked;
  const Result<PlaceholderShape> shape = ShapeFor(spec, bytes);
  if (!shape) return tl::unexpected(shape.error());
  Result<Entry> entry = MakeEntry(std::move(spec));
  if (!entry) return tl::unexpected(std::move(entry).error());
  Result<ToFind> to_find = value ? PrepareValue(bytes) : Result<ToFind>(nullptr);
  if (!to_find) return tl::unexpected(std::move(to_find).error());
  if (Status ready = Prepare(); !ready) return ready;
  Status added = AddPlaceholder(*shape, *to_find, ScopeOf(entry->spec));
  if (!added) return added;
  entry->value = std::move(value);
  entry->unavailable = std::move(why);
  entries.push_back(*std::move(entry));
  return {};
}

Status Store::Impl::Prepare() {
  if (index) return {};
  Result<std::string> anchor = MakeAnchor();
  if (!anchor) return tl::unexpected(std::move(anchor).error());
  Result<PlaceholderIndex> made = PlaceholderIndex::Create(*std::move(anchor));
  if (!made) return tl::unexpected(std::move(made).error());
  index = *std::move(made);
  return {};
}

Status Store::Impl::AddPlaceholder(const PlaceholderShape& shape, const ToFind& value,
                                   Scope scope) {
  Status added;
  for (int i = 0; i < kTries; ++i) {
    Result<std::string> placeholder = MakePlaceholder(shape, index->anchor());
    if (!placeholder) return tl::unexpected(std::move(placeholder).error());
    if (Status known = book.Put(index->size(), value, *placeholder, scope); !known) return known;
    if (book.Shows(*placeholder)) {
      added = Fail(Code::kInvalid, "the placeholder would have a secret's value in it");
      continue;
    }
    added = index->Add(*std::move(placeholder));
    if (added) return added;
  }
  book.Retire(index->size());
  return added;
}

/// VALUE, which was checked, for the book. No placeholder may have it in it: scrubbing would take
/// the placeholder from answers that repeat what the guest sent.
Result<Store::Impl::ToFind> Store::Impl::PrepareValue(std::string_view value) const {
  Result<ToFind> prepared = ScrubBook::Prepare(value);
  if (!prepared || !*prepared || entries.empty()) return prepared;
  const auto alone = ScrubSet::Compile({{*prepared, std::string()}});
  if (!alone) return tl::unexpected(alone.error());
  for (size_t id = 0; id < entries.size(); ++id) {
    if (!Contains(**alone, index->placeholder(id))) continue;
    return Fail(Code::kInvalid,
                "the value stands in the placeholder of secret " + entries[id].spec.name);
  }
  return prepared;
}

Result<size_t> Store::Impl::IdOf(std::string_view name) const {
  for (size_t id = 0; id < entries.size(); ++id) {
    if (entries[id].spec.name == name) return id;
  }
  return Fail(Code::kNotFound, "there is no secret " + std::string(name));
}

Store::Store() : impl_(std::make_unique<Impl>()) {}
Store::~Store() = default;

Status Store::Add(SecretSpec spec, Secret value) {
  ++impl_->generation;
  const std::string context = "secret " + spec.name;
  Status added = impl_->Declare(std::move(spec), std::move(value), {});
  if (!added) return tl::unexpected(std::move(added).error().In(context));
  return added;
}

Status Store::AddUnavailable(SecretSpec spec, std::string why) {
  ++impl_->generation;
  const std::string context = "secret " + spec.name;
  Status added = impl_->Declare(std::move(spec), std::nullopt, std::move(why));
  if (!added) return tl::unexpected(std::move(added).error().In(context));
  return added;
}

const std::string* Store::PlaceholderOf(std::string_view name) const {
  for (size_t id = 0; id < impl_->entries.size(); ++id) {
    if (impl_->entries[id].spec.name == name) return &impl_->index->placeholder(id);
  }
  return nullptr;
}

std::vector<std::pair<std::string, std::string>> Store::GuestEnvironment() const {
  std::vector<std::pair<std::string, std::string>> variables;
  for (size_t id = 0; id < impl_->entries.size(); ++id) {
    const SecretSpec& spec = impl_->entries[id].spec;
    if (spec.expose) variables.emplace_back(spec.name, impl_->index->placeholder(id));
  }
  return variables;
}

bool Store::empty() const {
  return impl_->entries.empty();
}

std::vector<SecretSummary> Store::List() const {
  std::vector<SecretSummary> list;
  for (const Entry& entry : impl_->entries) {
    list.push_back({entry.spec.name, HostsOf(entry), entry.value ? "" : entry.unavailable});
  }
  return list;
}

bool Store::Binds(const HostName& host) const {
  return std::any_of(impl_->entries.begin(), impl_->entries.end(),
                     [&host](const Entry& entry) { return MayReceive(entry, host); });
}

PreparedRequest::PreparedRequest() = default;
PreparedRequest::PreparedRequest(PreparedRequest&&) noexcept = default;
PreparedRequest& PreparedRequest::operator=(PreparedRequest&&) noexcept = default;
PreparedRequest::~PreparedRequest() = default;

Examination Store::Examine(const RequestTarget& target, const RequestHead& request,
                           PreparedRequest* prepared) const {
  if (empty()) return {};
  Plan plan = MakePlan(impl_->entries, *impl_->index, target, request);
  if (prepared == nullptr) return std::move(plan.examination);
  Examination examination = plan.examination;
  prepared->plan_ = std::make_unique<const Plan>(std::move(plan));
  prepared->generation_ = impl_->generation;
  prepared->fields_ = request.headers.fields().size();
  return examination;
}

Examination Store::ExamineTrailers(const RequestTarget& target, const RequestHead& request,
                                   Headers& trailers) const {
  if (empty()) return {};
  return secrets::ExamineTrailers(impl_->entries, *impl_->index, target, request, trailers);
}

std::optional<Refusal> Store::Substitute(const RequestTarget& target, RequestHead& request,
                                         const PreparedRequest& prepared) const {
  if (empty()) return std::nullopt;
  const bool good = prepared.plan_ && prepared.generation_ == impl_->generation &&
                    prepared.fields_ == request.headers.fields().size();
  if (good) {
    Apply(*prepared.plan_, *impl_->index, request);
    return std::nullopt;
  }
  const Plan plan = MakePlan(impl_->entries, *impl_->index, target, request);
  Apply(plan, *impl_->index, request);
  return plan.examination.refusal;
}

std::unique_ptr<BodyFilter> Store::BodySubstituter(const RequestTarget& target,
                                                   const RequestHead& request) const {
  if (empty()) return nullptr;
  BodyPlan plan = MakeBodyPlan(impl_->entries, *impl_->index, target, request);
  if (!plan.needed) return nullptr;
  return MakeBodySubstituter(impl_->entries, *impl_->index, std::move(plan));
}

bool Store::KeepsBodyLength(const RequestTarget& target, const RequestHead& request) const {
  return empty() || MakeBodyPlan(impl_->entries, *impl_->index, target, request).keeps_length;
}

std::unique_ptr<AnswerFilter> Store::Scrubber(AnswerFilter::Lengths lengths) const {
  if (!scrubs()) return nullptr;
  return std::make_unique<ScrubFilter>(impl_->book.current_for_answers(), lengths);
}

bool Store::Scrub(Headers& fields) const {
  return scrubs() && ScrubFields(*impl_->book.for_answers(), fields);
}

bool Store::scrubs() const {
  return impl_->book.for_answers() != nullptr;
}

Status Store::Rotate(std::string_view name, Secret value) {
  ++impl_->generation;
  const Result<size_t> id = impl_->IdOf(name);
  if (!id) return tl::unexpected(id.error());
  Entry& entry = impl_->entries[*id];
  const std::string context = "secret " + entry.spec.name;
  const auto fail = [&context](Error error) {
    return tl::unexpected(std::move(error).In(context));
  };
  Status checked = CheckValue(value.Reveal(), entry.spec);
  if (!checked) return fail(std::move(checked).error());
  Status fits = CheckValueFits(entry.spec, value.Reveal());
  if (!fits) return fail(std::move(fits).error());
  auto to_find = impl_->PrepareValue(value.Reveal());
  if (!to_find) return fail(std::move(to_find).error());
  Status known = impl_->book.Put(*id, *std::move(to_find), impl_->index->placeholder(*id),
                                 ScopeOf(entry.spec));
  if (!known) return fail(std::move(known).error());
  entry.value = std::move(value);
  entry.unavailable.clear();
  return {};
}

Status Store::Impl::CheckRedeclared(const Entry& before, const SecretSpec& spec,
                                    const Secret* value) const {
  if (before.spec.scrub != spec.scrub) {
    return Fail(Code::kInvalid, "scrub can't change while the sandbox runs");
  }
  if (value == nullptr) return {};
  if (Status checked = CheckValue(value->Reveal(), spec); !checked) return checked;
  return CheckValueFits(spec, value->Reveal());
}

/// Puts SPEC in the place that KNOWN has for its name, or behind all. The declarations before it are
/// in their places, those behind it are blank.
Status Store::Impl::RedeclareOne(SecretSpec spec, std::map<std::string, Secret>& values,
                                 const std::map<std::string, size_t>& known) {
  const auto given = values.find(spec.name);
  const auto place = known.find(spec.name);
  if (place == known.end()) {
    if (given == values.end()) return Fail(Code::kNotFound, "its value is missing");
    return Declare(std::move(spec), std::move(given->second), {});
  }
  if (Status checked = CheckSpec(spec, entries); !checked) return checked;
  Result<Entry> made = MakeEntry(std::move(spec));
  if (!made) return tl::unexpected(std::move(made).error());
  Entry& entry = entries[place->second];
  entry.spec = std::move(made->spec);
  entry.paths = std::move(made->paths);
  return {};
}

Status Store::Redeclare(std::vector<SecretSpec> specs, std::map<std::string, Secret> values) {
  ++impl_->generation;
  Entries& entries = impl_->entries;
  std::map<std::string, size_t> known;
  std::vector<std::pair<SecretSpec, std::vector<PathGlob>>> before;
  for (size_t id = 0; id < entries.size(); ++id) known.emplace(entries[id].spec.name, id);
  for (const SecretSpec& spec : specs) {
    const auto place = known.find(spec.name);
    if (place == known.end()) continue;
    const Entry& entry = entries[place->second];
    const auto given = values.find(spec.name);
    const Secret* value = given != values.end() ? &given->second : entry.value ? &*entry.value : nullptr;
    if (Status fits = impl_->CheckRedeclared(entry, spec, value); !fits) {
      return tl::unexpected(std::move(fits).error().In("secret " + spec.name));
    }
  }
  for (Entry& entry : entries) before.emplace_back(std::exchange(entry.spec, {}), std::move(entry.paths));
  const auto undo = [&](const std::string& name, Error why) {
    for (size_t id = 0; id < entries.size(); ++id) {
      if (id >= before.size()) {  // Added just now; its placeholder is known to nobody.
        (void)Revoke(entries[id].spec.name);
        entries[id].spec.hosts.clear();
        entries[id].spec.inject.clear();
        continue;
      }
      std::tie(entries[id].spec, entries[id].paths) = std::move(before[id]);
    }
    return tl::unexpected(std::move(why).In("secret " + name));
  };
  std::vector<std::string> declared;
  for (SecretSpec& spec : specs) {
    declared.push_back(spec.name);
    if (Status done = impl_->RedeclareOne(std::move(spec), values, known); !done) {
      return undo(declared.back(), std::move(done).error());
    }
  }
  for (size_t id = 0; id < before.size(); ++id) {
    Entry& entry = entries[id];
    if (!entry.spec.name.empty()) continue;
    entry.spec = std::move(before[id].first);
    entry.spec.hosts.clear();
    entry.spec.inject.clear();
    (void)Revoke(entry.spec.name);
    entry.unavailable = "the policy does not declare it any more";
  }
  for (auto& [name, value] : values) {
    if (!known.contains(name)) continue;  // Declare() took it.
    if (Status rotated = Rotate(name, std::move(value)); !rotated) {
      (void)MakeUnavailable(name, "its new value can't be used: " + rotated.error().message());
    }
  }
  return {};
}

Status Store::MakeUnavailable(std::string_view name, std::string why) {
  ++impl_->generation;
  Status status = Revoke(name);
  for (Entry& entry : impl_->entries) {
    if (entry.spec.name == name) entry.unavailable = std::move(why);
  }
  return status;
}

Status Store::Revoke(std::string_view name) {
  ++impl_->generation;
  const Result<size_t> id = impl_->IdOf(name);
  if (!id) return tl::unexpected(id.error());
  impl_->book.Retire(*id);
  impl_->entries[*id].value.reset();
  impl_->entries[*id].unavailable = "it was revoked";
  return {};
}

std::string Store::Redact(std::string_view text) const {
  const auto& set = impl_->book.for_messages();
  std::optional<std::string> scrubbed = set ? Scrubbed(*set, text) : std::nullopt;
  return scrubbed ? *std::move(scrubbed) : std::string(text);
}

void WipeHead(RequestHead& head) {
  for (HeaderField& field : head.headers.fields()) WipeString(field.value);
  WipeString(head.path);
  if (head.query) WipeString(*head.query);
}

}  // namespace sallyport::secrets
