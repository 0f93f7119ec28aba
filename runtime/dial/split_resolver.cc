#include "runtime/dial/split_resolver.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace sallyport::runtime {

Result<Resolver*> SplitResolver::For(const std::vector<Endpoint>& servers) {
  if (servers.empty()) return &usual_;
  const auto found = lists_.find(servers);
  if (found != lists_.end()) return found->second.get();
  if (lists_.size() >= kMaxLists) {
    return Fail(Code::kLimit, "the policy has named " + std::to_string(kMaxLists) +
                                  " different lists of resolvers, and no more are kept");
  }
  auto made = make_(servers);
  if (!made) return tl::unexpected(std::move(made).error());
  return lists_.emplace(servers, *std::move(made)).first->second.get();
}

Status SplitResolver::Assign(const HostName& name, const std::vector<Endpoint>& servers) {
  const auto known = names_.find(name);
  if (known == names_.end() && servers.empty()) return {};
  if (known == names_.end() && names_.size() >= kMaxNames) {
    return Fail(Code::kLimit, std::to_string(kMaxNames) +
                                  " names have resolvers of their own, and no more are kept");
  }
  const auto resolver = For(servers);
  names_.insert_or_assign(name, resolver ? *resolver : &Nobody());
  if (!resolver) return tl::unexpected(resolver.error());
  return {};
}

Resolver& SplitResolver::Nobody() {
  if (nobody_ == nullptr) {
    auto made = make_({});
    SALLYPORT_CHECK(made.has_value());
    nobody_ = *std::move(made);
  }
  return *nobody_;
}

std::vector<HostName> SplitResolver::assigned() const {
  std::vector<HostName> names;
  names.reserve(names_.size());
  for (const auto& [name, resolver] : names_) names.push_back(name);
  return names;
}

Resolver& SplitResolver::Of(const HostName& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? usual_ : *found->second;
}

}  // namespace sallyport::runtime
