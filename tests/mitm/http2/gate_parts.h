#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mitm/distrust_log.h"
#include "mitm/flow_context.h"
#include "mitm/upstream_pool.h"
#include "mitm/upstream_tls.h"
#include "mitm/upstream_trust.h"
#include "secrets/store.h"
#include "tests/fakes/fake_waits.h"
#include "tests/mitm/harness.h"

namespace sallyport::mitm::http2 {

/// The parts of a gate below its guests' connections, over an origin that speaks ALPN. Members may
/// be set before a guest is there.
struct GateParts : TestLoop {
  explicit GateParts(Origin::Handler handler, const std::string& alpn = {})
      : origin(&ApiCertificate(), std::move(handler), alpn),
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

  static HttpFlow Flow(uint16_t port = 443) {
    HttpFlow flow;
    flow.facts.flow = 7;
    flow.facts.destination = {IpAddress::V4(203, 0, 113, 5), port};
    flow.facts.name = *HostName::Parse("api.test");
    flow.verdict.action = policy::FlowVerdict::Action::kHttp;
    policy::RuleOf(flow.verdict).id = "policy.lua:1";
    flow.verdict.http = policy::FakeEngine::Grant();
    return flow;
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
