#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/dialer.h"
#include "base/http_message.h"
#include "base/http_url.h"
#include "base/loop.h"
#include "base/pending.h"
#include "base/result.h"
#include "mitm/upstream_tls.h"
#include "runtime/broker/wiped.h"

namespace sallyport::runtime {

/// One POST to a server that the user named: one that gives credentials out, or decides, or collects.
struct HttpRequest {
  HttpUrl url;
  Headers headers;  ///< No Host, no framing: those are the client's.
  Wiped body;
  bool private_network =
      false;  ///< Private addresses are meant, too, and loopback as a literal or "localhost".
  std::chrono::milliseconds deadline = std::chrono::seconds(30);  ///< For the whole.
  std::string called = {};  ///< How errors name the server; its URL when empty.

  HttpRequest() = default;
  HttpRequest(HttpRequest&&) = default;
  HttpRequest& operator=(HttpRequest&&) = default;
  ~HttpRequest();  ///< Wipes the fields.
};

struct HttpAnswer {
  int status = 0;
  Headers headers;
  Wiped body;
};

/// Sends requests through the guarded dialler: special addresses are refused, the certificate must
/// verify for the URL's host. One connection a request; no redirect is followed; an answer has at
/// most 64 KiB.
class HttpClient {
 public:
  /// All outlive it, and it every Pending.
  HttpClient(Loop& loop, Dialer& dialer, mitm::UpstreamTls& tls)
      : loop_(loop), dialer_(dialer), tls_(tls) {}

  /// Errors name the server and what went wrong, and hold nothing of the request.
  Pending Post(HttpRequest request, std::function<void(Result<HttpAnswer>)> done);

 private:
  class Exchange;

  Loop& loop_;
  Dialer& dialer_;
  mitm::UpstreamTls& tls_;
};

}  // namespace sallyport::runtime
