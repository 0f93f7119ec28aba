#pragma once

#include <memory>
#include <string>
#include <utility>

#include "mitm/http2/session.h"
#include "tests/mitm/http2/client.h"
#include "tests/mitm/http2/gate_parts.h"

namespace sallyport::mitm::http2 {

/// A gate below its guests' TLS, over an origin that speaks HTTP/1.1, with guests in memory.
/// Members may be set before Open().
struct TestSessions : GateParts {
  explicit TestSessions(Origin::Handler handler = Echo) : GateParts(std::move(handler)) {}

  /// One guest's connection, as if its TLS were up.
  struct Connection final : public Session::Owner {
    Connection(Gate& gate, HttpFlow http_flow, MemoryStream::Pair ends, Client::Options options)
        : flow(gate, std::move(http_flow)),
          stream(std::move(ends.a)),
          client(std::move(ends.b), options) {
      flow.tls = {.encrypted = true, .sni = "api.test", .alpn = "h2", .version = "TLSv1.3"};
      session = std::make_unique<Session>(flow, *stream, "", *this);
      session->Run();
    }
    void OnSessionOver() override {
      session.reset();
      stream.reset();
    }

    FlowContext flow;
    std::unique_ptr<Stream> stream;
    std::unique_ptr<Session> session;
    Client client;
  };

  std::unique_ptr<Connection> Open(Client::Options options = {}, MemoryStream::Options wire = {}) {
    return Open(Flow(), options, wire);
  }
  std::unique_ptr<Connection> Open(HttpFlow flow, Client::Options options = {},
                                   MemoryStream::Options wire = {}) {
    return std::make_unique<Connection>(gate, std::move(flow), MemoryStream::Make(*loop, wire),
                                        options);
  }

  const Client::Answer& Await(Connection& connection, int32_t id) {
    RunUntil([&] {
      return connection.client.Has(id) || connection.client.broken || connection.client.ended;
    });
    return connection.client.answer(id);
  }
  /// Has every request denied.
  void Deny(Refusal refusal = {}) {
    engine.OnRequest([refusal](const policy::Facts&, const policy::TlsFacts&, RequestHead&) {
      return policy::FakeEngine::Deny(refusal);
    });
  }
};

}  // namespace sallyport::mitm::http2
