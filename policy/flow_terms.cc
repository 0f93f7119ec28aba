#include "policy/flow_terms.h"

#include "policy/http_grant.h"

namespace sallyport::policy {
namespace {

// Every text with its length before it, so that no text can look like the end of another.
class Terms {
 public:
  void Add(std::string_view word) {
    text_ += std::to_string(word.size()) + ":";
    text_ += word;
  }
  void Add(uint64_t number) { Add(std::string_view(std::to_string(number))); }
  template <class T, class Show>
  void AddAll(const std::vector<T>& items, Show show) {
    Add(items.size());
    for (const T& item : items) Add(std::string_view(show(item)));
  }
  void Add(const std::optional<Authority>& to) { Add(std::string_view(to ? ToString(*to) : "")); }
  void Add(const AddressFilter& filter) {
    Add(uint64_t{filter.classes});
    AddAll(filter.prefixes, [](const Prefix& prefix) { return prefix.ToString(); });
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

const std::string& Itself(const std::string& text) {
  return text;
}

void AddRule(const Rule& rule, Terms& terms) {
  terms.Add(static_cast<uint64_t>(rule.effect));
  terms.AddAll(rule.methods, Itself);
  terms.AddAll(rule.paths, [](const PathGlob& glob) { return glob.text(); });
  terms.Add(rule.headers.size());
  for (const HeaderCondition& header : rule.headers) {
    terms.Add(header.name);
    terms.AddAll(header.values, Itself);
  }
  terms.Add(uint64_t{rule.rare->otherwise.has_value()});
  terms.Add(static_cast<uint64_t>(rule.tls));
  terms.Add(rule.rare->to);
}

}  // namespace

std::string DescribeTerms(const FlowVerdict& flow, const RuleSet& rules) {
  Terms terms;
  terms.Add(static_cast<uint64_t>(flow.action));
  terms.Add(flow.filter());
  terms.Add(flow.to());
  terms.Add(uint64_t{flow.passthrough});
  if (!flow.http) return terms.Take();
  terms.Add(uint64_t{flow.http->learns});
  terms.Add(flow.http->rules.size());
  for (const uint32_t number : flow.http->rules.all()) AddRule(rules.rules()[number], terms);
  if (const Rule* accepted = flow.http->accepted()) AddRule(*accepted, terms);
  return terms.Take();
}

}  // namespace sallyport::policy
