#pragma once

#include <memory>
#include <string>
#include <utility>

#include "mitm/flow_context.h"
#include "mitm/http2/session.h"
#include "mitm/upstream_pool.h"
#include "mitm/distrust_log.h"
#include "mitm/upstream_tls.h"
#include "mitm/upstream_trust.h"
#include "tests/mitm/harness.h"
#include "tests/mitm/http2/client.h"

namespace sallyport::mitm::http2 {

/// The parts of a gate below a guest's TLS, over an origin that speaks HTTP/1.1, with guests in
/// memory. Members may be set before Open().
struct TestSessions : TestLoop {
  explicit TestSessions(Origin::Handler handler = Echo)
      : origin(&ApiCertificate(), std::move(handler)),
        dialer(*loop, origin.port()),
        upstream_tls(std::move(
            *UpstreamTls::Create(std::move(*LoadTrustedRoots({})), [] { return Roots().Pem(); }))),
        pool(*loop, dialer, *upstream_tls),
        gate{.loop = *loop,
             .engine = engine,
             .secrets = secrets,
             .audit = audit,
             .pool = pool,
             .dialer = dialer,
             .distrust = distrust,
             .terminate = [this](std::string why) { terminated.push_back(std::move(why)); },
             .waits = waits} {}

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

  static HttpFlow Flow(uint16_t port = 443) {
    HttpFlow flow;
    flow.facts.flow = 7;
    flow.facts.destination = {IpAddress::V4(203, 0, 113, 5), port};
    flow.facts.name = *HostName::Parse("api.test");
    flow.verdict.action = policy::FlowVerdict::Action::kHttp;
    flow.verdict.rule = "policy.lua:1";
    flow.verdict.http = policy::FakeEngine::Grant();
    return flow;
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

  Origin origin;
  LoopbackDialer dialer;
  policy::FakeEngine engine;
  secrets::Store secrets;
  RecordingAudit audit;
  policy::FakeWaits waits;
  DistrustLog distrust{audit};
  std::vector<std::string> terminated;
  std::unique_ptr<UpstreamTls> upstream_tls;
  UpstreamPool pool;
  Gate gate;
};

}  // namespace sallyport::mitm::http2
