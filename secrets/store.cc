#include "secrets/store.h"

#include <algorithm>
#include <utility>

#include "secrets/body_plan.h"
#include "secrets/entry.h"
#include "secrets/placeholder.h"
#include "secrets/placeholder_index.h"
#include "secrets/plan.h"

namespace sallyport::secrets {
namespace {

/// Each value locks a page of its own, and 8 MiB may be locked on most hosts.
constexpr size_t kMaxSecrets = 1024;
/// A placeholder that meets another one in 96 random bits is our generator's fault, not chance.
constexpr int kTries = 8;
/// What a placeholder is made like when there is no value: 40 letters and digits.
constexpr std::string_view kTypicalValue = "aA00000000000000000000000000000000000000";

Result<PlaceholderShape> ShapeFor(const SecretSpec& spec, std::string_view value) {
  if (!spec.placeholder) return ShapeOf(value);
  if (spec.placeholder->find(value) != std::string::npos) {
    return Fail(Code::kInvalid, "placeholder has the value itself in it");
  }
  return ShapeOfForm(*spec.placeholder, value.size());
}

}  // namespace

struct Store::Impl {
  Entries entries;
  std::optional<PlaceholderIndex> index;  ///< None before the first secret.

  Status Declare(SecretSpec spec, std::optional<Secret> value, std::string why);
  Status Prepare();
  Status AddPlaceholder(const PlaceholderShape& shape);
};

/// Everything that can fail comes before the placeholder, whose id is the entry's place.
Status Store::Impl::Declare(SecretSpec spec, std::optional<Secret> value, std::string why) {
  if (entries.size() >= kMaxSecrets) return Fail(Code::kLimit, "more than 1024 secrets");
  if (Status checked = CheckSpec(spec, entries); !checked) return checked;
  const std::string_view bytes = value ? value->Reveal() : kTypicalValue;
  if (Status checked = CheckValue(bytes); !checked) return checked;
  if (Status checked = CheckValueFits(spec, bytes); !checked) return checked;
  const Result<PlaceholderShape> shape = ShapeFor(spec, bytes);
  if (!shape) return tl::unexpected(shape.error());
  Result<Entry> entry = MakeEntry(std::move(spec));
  if (!entry) return tl::unexpected(std::move(entry).error());
  entry->value = std::move(value);
  entry->unavailable = std::move(why);
  if (Status ready = Prepare(); !ready) return ready;
  if (Status added = AddPlaceholder(*shape); !added) return added;
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

Status Store::Impl::AddPlaceholder(const PlaceholderShape& shape) {
  Status added;
  for (int i = 0; i < kTries; ++i) {
    Result<std::string> placeholder = MakePlaceholder(shape, index->anchor());
    if (!placeholder) return tl::unexpected(std::move(placeholder).error());
    added = index->Add(*std::move(placeholder));
    if (added) break;
  }
  return added;
}

Store::Store() : impl_(std::make_unique<Impl>()) {}
Store::~Store() = default;

Status Store::Add(SecretSpec spec, Secret value) {
  const std::string context = "secret " + spec.name;
  Status added = impl_->Declare(std::move(spec), std::move(value), {});
  if (!added) return tl::unexpected(std::move(added).error().In(context));
  return added;
}

Status Store::AddUnavailable(SecretSpec spec, std::string why) {
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

Examination Store::Examine(const RequestTarget& target, const RequestHead& request) const {
  if (empty()) return {};
  return MakePlan(impl_->entries, *impl_->index, target, request).examination;
}

void Store::Substitute(const RequestTarget& target, RequestHead& request) const {
  if (empty()) return;
  const Plan plan = MakePlan(impl_->entries, *impl_->index, target, request);
  Apply(plan, *impl_->index, request);
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

std::unique_ptr<ByteFilter> Store::Scrubber() const {
  return nullptr;
}

bool Store::Scrub(Headers&) const {
  return false;
}

bool Store::scrubs() const {
  return false;
}

Status Store::Rotate(std::string_view name, Secret value) {
  if (Status checked = CheckValue(value.Reveal()); !checked) return checked;
  for (Entry& entry : impl_->entries) {
    if (entry.spec.name != name) continue;
    if (Status fits = CheckValueFits(entry.spec, value.Reveal()); !fits) return fits;
    entry.value = std::move(value);
    entry.unavailable.clear();
    return {};
  }
  return Fail(Code::kNotFound, "there is no secret " + std::string(name));
}

Status Store::Revoke(std::string_view name) {
  for (Entry& entry : impl_->entries) {
    if (entry.spec.name != name) continue;
    entry.value.reset();
    entry.unavailable = "it was revoked";
    return {};
  }
  return Fail(Code::kNotFound, "there is no secret " + std::string(name));
}

std::string Store::Redact(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    // The value that comes first; of those in one place the longest, which may begin with another.
    size_t first = text.size();
    size_t size = 0;
    size_t id = 0;
    for (size_t i = 0; i < impl_->entries.size(); ++i) {
      const Entry& entry = impl_->entries[i];
      if (!entry.value) continue;
      const size_t at = text.find(entry.value->Reveal());
      if (at == std::string_view::npos) continue;
      if (at > first || (at == first && entry.value->size() <= size)) continue;
      first = at;
      size = entry.value->size();
      id = i;
    }
    out += text.substr(0, first);
    if (size != 0) out += impl_->index->placeholder(id);
    text.remove_prefix(first + size);
  }
  return out;
}

void WipeHead(RequestHead& head) {
  for (HeaderField& field : head.headers.fields()) WipeString(field.value);
  WipeString(head.path);
  if (head.query) WipeString(*head.query);
}

}  // namespace sallyport::secrets
