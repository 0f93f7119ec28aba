#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "runtime/dial/split_resolver.h"

namespace sallyport::runtime {

/// Answers from a table, from the loop, and remembers what it was asked.
class FakeResolver : public Resolver {
 public:
  explicit FakeResolver(Loop& loop) : loop_(loop) {}

  void Set(const std::string& name, std::vector<IpAddress> addresses,
           std::vector<HostName> chain = {}) {
    ResolvedName resolved;
    resolved.addresses = std::move(addresses);
    resolved.chain = std::move(chain);
    resolved.expires = Clock::time_point::max();
    table_.insert_or_assign(name, std::move(resolved));
  }
  void SetError(const std::string& name, Error error) {
    table_.insert_or_assign(name, Result<ResolvedName>(tl::unexpected(std::move(error))));
  }

  Pending Resolve(const HostName& name, std::function<void(Result<ResolvedName>)> done) override {
    asked.push_back(name.text());
    const uint64_t id = next_++;
    posted_[id] = loop_.Post([this, id, name, call = std::move(done)] {
      const auto answer = call;
      posted_.erase(id);
      const auto found = table_.find(name.text());
      if (found != table_.end()) return answer(found->second);
      answer(Fail(Code::kNotFound, name.text() + " does not exist"));
    });
    return Pending([this, id] { posted_.erase(id); });
  }

  void SetRecords(const std::string& name, uint16_t type, Result<ResolvedRecords> records) {
    records_.insert_or_assign({name, type}, std::move(records));
  }

  Pending ResolveRecords(const HostName& name, uint16_t type,
                         std::function<void(Result<ResolvedRecords>)> done) override {
    asked.push_back(name.text() + " TYPE" + std::to_string(type));
    const uint64_t id = next_++;
    posted_[id] = loop_.Post([this, id, name, type, call = std::move(done)] {
      const auto answer = call;
      posted_.erase(id);
      const auto found = records_.find({name.text(), type});
      if (found != records_.end()) return answer(found->second);
      answer(Fail(Code::kNotFound, name.text() + " does not exist"));
    });
    return Pending([this, id] { posted_.erase(id); });
  }

  const ResolvedName* Cached(const HostName& name) const override {
    const auto found = table_.find(name.text());
    return found != table_.end() && found->second ? &*found->second : nullptr;
  }

  std::vector<std::string> asked;

 private:
  Loop& loop_;
  uint64_t next_ = 1;
  std::map<std::string, Result<ResolvedName>> table_;
  std::map<std::pair<std::string, uint16_t>, Result<ResolvedRecords>> records_;
  std::map<uint64_t, Loop::Handle> posted_;
};

/// Those that MakeFakes() made, by their first server; "" for one without.
using FakeResolvers = std::map<std::string, FakeResolver*>;
inline SplitResolver::Make MakeFakes(Loop& loop, FakeResolvers& made) {
  return [&loop, &made](const std::vector<Endpoint>& servers) {
    auto fake = std::make_unique<FakeResolver>(loop);
    made[servers.empty() ? "" : servers.front().ToString()] = fake.get();
    return Result<std::unique_ptr<Resolver>>(std::move(fake));
  };
}

}  // namespace sallyport::runtime
