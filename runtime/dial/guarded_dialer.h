#pragma once

#include <map>
#include <memory>

#include "base/dialer.h"
#include "base/loop.h"
#include "runtime/dial/resolver.h"

namespace sallyport::runtime {

/// The warden's Dialer: resolves on the host, checks every address, and connects to a checked one,
/// the next one beside it when the first takes its time (RFC 8305).
class GuardedDialer : public Dialer {
 public:
  /// Both outlive this.
  GuardedDialer(Loop& loop, Resolver& resolver);
  ~GuardedDialer() override;

  Pending Dial(const Destination& destination, Transport transport,
               std::function<void(Result<Dialed>)> done) override;

 private:
  class Attempt;
  void Forget(uint64_t id);

  Loop& loop_;
  Resolver& resolver_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Attempt>> attempts_;
};

}  // namespace sallyport::runtime
