#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/stream.h"
#include "mitm/interceptor.h"
#include "policy/engine.h"

namespace sallyport::runtime {

/// Connections to an address that several names have (`dns { answers = "real" }`): accepted, so
/// that the client says which it means; then the policy is asked about that name, and the
/// interceptor takes the connection. One that means none of them, or does not say, is taken for the
/// name told last, which the interceptor's own checks then refuse. Raw bytes are never granted
/// here: nothing in them tells which name is meant.
class SharedAddress {
 public:
  struct Services {
    Loop& loop;
    policy::Engine& engine;
    mitm::Interceptor& interceptor;
    policy::WaitService& waits;
  };
  /// GRANTED is told of the facts of each connection that is handed on.
  SharedAddress(const Services& services, std::function<void(const policy::Facts&)> granted);
  ~SharedAddress();

  /// Takes over GUEST, a connection with FACTS to one of NAMES, which are not empty.
  void Serve(std::unique_ptr<Stream> guest, policy::Facts facts, std::vector<HostName> names);

 private:
  class Connection;

  const Services services_;
  const std::function<void(const policy::Facts&)> granted_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace sallyport::runtime
