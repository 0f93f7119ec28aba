#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/host_name.h"
#include "base/loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runtime/dial/connect_reply.h"
#include "runtime/dial/parent_proxy.h"

namespace sallyport::runtime {

/// Turns a connection to the host's proxy into one to a target, by CONNECT. Takes not a byte of
/// what follows the proxy's answer: a server that speaks first is not lost. Whoever owns it keeps
/// the time.
class ProxyTunnel {
 public:
  /// SOCKET is connected to PROXY and non-blocking. DONE, from the loop and never inside this call,
  /// may destroy the tunnel. Errors: kProxyRefused, kProxyTimeout; kSystem.
  static Result<std::unique_ptr<ProxyTunnel>> Start(Loop& loop, const ParentProxy& proxy,
                                                    UniqueFd socket, const Host& host,
                                                    uint16_t port,
                                                    std::function<void(Result<UniqueFd>)> done);

 private:
  ProxyTunnel(const ParentProxy& proxy, UniqueFd socket, std::string target,
              std::function<void(Result<UniqueFd>)> done);
  Status Ask(const Host& host, uint16_t port);
  void OnReadable();
  Status Judge() const;
  void Finish(Result<UniqueFd> result);

  const ParentProxy& proxy_;
  UniqueFd socket_;
  const std::string target_;  // For messages.
  std::function<void(Result<UniqueFd>)> done_;
  ConnectReply reply_;
  Loop::Handle watch_;
};

}  // namespace sallyport::runtime
