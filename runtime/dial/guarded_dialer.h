#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/dialer.h"
#include "base/loop.h"
#include "runtime/dial/own_address.h"
#include "runtime/dial/resolver.h"

namespace sallyport::runtime {

class ParentProxy;

/// The warden's Dialer: resolves on the host, checks every address, and connects to a checked one,
/// the next one beside it when the first takes its time (RFC 8305). An address of this host itself is
/// refused like loopback, whatever its class: only a target that the user wrote (`to`), or a filter with
/// exactly this address for a destination without a name (`ip`), admits it.
class GuardedDialer : public Dialer {
 public:
  /// All outlive this. PARENT is the proxy that the host itself is behind; null for none. TCP goes
  /// through it by CONNECT but for what it skips: by name where the destination is one, after the
  /// addresses that this host resolves it to were checked (each, as the proxy resolves it again), or
  /// unchecked where it resolves to none. UDP never does.
  /// IS_OWN is asked about each address that is admitted otherwise.
  GuardedDialer(Loop& loop, Resolver& resolver, const ParentProxy* parent = nullptr,
                std::function<bool(const IpAddress&)> is_own = IsOwnAddress);
  ~GuardedDialer() override;

  Pending Dial(const Destination& destination, Transport transport,
               std::function<void(Result<Dialed>)> done) override;

 private:
  class Attempt;
  void Forget(uint64_t id);

  Loop& loop_;
  Resolver& resolver_;
  const ParentProxy* parent_;
  const std::function<bool(const IpAddress&)> is_own_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Attempt>> attempts_;
};

}  // namespace sallyport::runtime
