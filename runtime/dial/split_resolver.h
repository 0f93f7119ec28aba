#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/host_name.h"
#include "base/ip_address.h"
#include "base/result.h"
#include "runtime/dial/resolver.h"

namespace sallyport::runtime {

/// A Resolver that asks servers of their own about some names, so that a name of one network is never
/// told to the servers of another. Each list of servers has a cache of its own.
class SplitResolver : public Resolver {
 public:
  /// Makes the resolver that asks SERVERS; for none one that answers nothing.
  using Make =
      std::function<Result<std::unique_ptr<Resolver>>(const std::vector<Endpoint>& servers)>;
  static constexpr size_t kMaxLists = 32;    ///< Each has its sockets.
  static constexpr size_t kMaxNames = 4096;  ///< None is forgotten: it would be asked of others.

  /// USUAL, which outlives this, is asked about every name that is not assigned.
  SplitResolver(Resolver& usual, Make make) : usual_(usual), make_(std::move(make)) {}

  /// The resolver that asks SERVERS, the usual one for none; it lives as long as this. kLimit: there
  /// are kMaxLists others.
  Result<Resolver*> For(const std::vector<Endpoint>& servers);

  /// NAME is asked of SERVERS from now on, of the usual ones for none. kLimit: as For(), and then it is
  /// asked of nobody; or kMaxNames others are assigned, and nothing changes.
  Status Assign(const HostName& name, const std::vector<Endpoint>& servers);
  /// The names that were ever assigned.
  std::vector<HostName> assigned() const;

  Pending Resolve(const HostName& name, std::function<void(Result<ResolvedName>)> done) override {
    return Of(name).Resolve(name, std::move(done));
  }
  const ResolvedName* Cached(const HostName& name) const override { return Of(name).Cached(name); }
  Pending ResolveRecords(const HostName& name, uint16_t type,
                         std::function<void(Result<ResolvedRecords>)> done) override {
    return Of(name).ResolveRecords(name, type, std::move(done));
  }

 private:
  Resolver& Of(const HostName& name) const;
  Resolver& Nobody();

  Resolver& usual_;
  const Make make_;
  std::map<std::vector<Endpoint>, std::unique_ptr<Resolver>> lists_;
  std::unique_ptr<Resolver> nobody_;
  std::map<HostName, Resolver*> names_;
};

}  // namespace sallyport::runtime
