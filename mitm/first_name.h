#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/host_name.h"

namespace sallyport::mitm {

class ClientHelloReader;

/// Finds out whom the first bytes of a connection are for: the server name of a ClientHello, or the
/// Host field of a request. It only picks one of the names that an address has: the interceptor
/// holds SNI, authority and certificate to the name that was picked. No I/O.
class FirstName {
 public:
  FirstName();
  ~FirstName();

  /// Takes the next bytes, and says whether it has seen enough.
  bool Feed(std::string_view bytes);
  /// What was found once it has; nothing for a connection that names nobody.
  const std::optional<HostName>& name() const { return name_; }

 private:
  bool FeedHead(std::string_view bytes);

  std::unique_ptr<ClientHelloReader> hello_;
  std::string head_;
  bool started_ = false;
  size_t size_ = 0;
  std::optional<HostName> name_;
};

}  // namespace sallyport::mitm
