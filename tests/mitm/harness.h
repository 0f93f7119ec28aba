#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mitm/interceptor.h"
#include "tests/fakes/fake_engine.h"
#include "tests/fakes/fake_waits.h"
#include "tests/fakes/loopback_dialer.h"
#include "tests/fakes/memory_stream.h"
#include "tests/fakes/recording_audit.h"
#include "tests/mitm/certificates.h"
#include "tests/mitm/guest_client.h"
#include "tests/mitm/origin.h"
#include "tests/mitm/test_loop.h"

namespace sallyport::mitm {

/// The authority that issued the origins' certificates.
inline const TestCertificate& Roots() {
  static const TestCertificate roots =
      MakeTestCertificate({.name = "Test roots", .authority = true});
  return roots;
}

/// api.test's certificate, as it should be.
inline const TestCertificate& ApiCertificate() {
  static const TestCertificate certificate =
      MakeTestCertificate({.name = "api.test", .dns = "api.test", .issuer = &Roots()});
  return certificate;
}

/// Answers every request with its own head and body.
inline void Echo(Origin::Connection& connection) {
  for (;;) {
    const std::string head = connection.ReadHead();
    if (head.empty()) return;
    connection.Answer(head + connection.ReadBody(head));
  }
}

/// Answers without a body: HEAD with the length of one, /204, /304, /empty; and "last" to all else.
inline void Bodiless(Origin::Connection& connection) {
  for (;;) {
    const std::string head = connection.ReadHead();
    if (head.empty()) return;
    if (head.starts_with("HEAD")) {
      connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    } else if (head.starts_with("GET /204")) {
      connection.Write("HTTP/1.1 204 No Content\r\n\r\n");
    } else if (head.starts_with("GET /304")) {
      connection.Write("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n");
    } else {
      connection.Answer(head.starts_with("GET /empty") ? "" : "last");
    }
  }
}

/// A whole gate over an origin, with guests in memory. Members may be set before Open().
struct TestGate : TestLoop {
  explicit TestGate(Origin::Handler handler = Echo,
                    const TestCertificate* certificate = &ApiCertificate())
      : TestGate(std::move(handler), certificate, Origin::Tls{}) {}
  TestGate(Origin::Handler handler, const TestCertificate* certificate,
           const std::string& origin_alpn)
      : TestGate(std::move(handler), certificate, Origin::Speaking(origin_alpn)) {}
  TestGate(Origin::Handler handler, const TestCertificate* certificate, Origin::Tls tls,
           std::vector<DeclaredServer> servers = {})
      : origin(certificate, std::move(handler), std::move(tls)),
        dialer(*loop, origin.port()) {
    interceptor = std::move(*Interceptor::Create(
        {.loop = *loop,
         .dialer = dialer,
         .engine = engine,
         .secrets = secrets,
         .audit = audit,
         .terminate = [this](std::string why) { terminated.push_back(std::move(why)); },
         .waits = waits,
         .renew =
             [this](const std::vector<std::string>& names, std::function<void(bool)> done) {
               return renew ? renew(names, std::move(done)) : NoRenewal(std::move(done));
             },
         .lifetime = [this](std::string_view name) {
           return lifetime ? lifetime(name) : std::nullopt;
         },
         .budgets = &budgets},
        {.system_roots = [] { return Roots().Pem(); },
         .extra_roots = {},
         .servers = std::move(servers)}));
  }
  ~TestGate() { interceptor.reset(); }

  /// The flow that a guest to NAME:PORT would have.
  HttpFlow Flow(const std::string& name = "api.test", uint16_t port = 443) {
    HttpFlow flow;
    flow.facts.flow = 7;
    flow.facts.destination = {IpAddress::V4(203, 0, 113, 5), port};
    if (!name.empty()) flow.facts.name = *HostName::Parse(name);
    flow.verdict.action = policy::FlowVerdict::Action::kHttp;
    policy::RuleOf(flow.verdict).id = "policy.lua:1";
    flow.verdict.http = policy::FakeEngine::Grant();
    return flow;
  }

  std::unique_ptr<GuestClient> Open(GuestClient::Options options, HttpFlow flow,
                                    MemoryStream::Options wire = {}) {
    options.trusted = interceptor->trust_anchor().pem;
    auto ends = MemoryStream::Make(*loop, wire);
    interceptor->Serve(std::move(ends.a), std::move(flow));
    return std::make_unique<GuestClient>(std::move(ends.b), std::move(options));
  }
  std::unique_ptr<GuestClient> Open() { return Open({}, Flow()); }
  std::unique_ptr<GuestClient> OpenPlain() { return Open({.tls = false}, Flow("api.test", 80)); }

  /// Sends REQUEST on GUEST and returns the whole of its answer, which has a Content-Length, is
  /// chunked, or has no body.
  std::string Ask(GuestClient& guest, const std::string& request) {
    guest.Send(request);
    return TakeAnswer(guest, request.starts_with("HEAD"));
  }
  std::string TakeAnswer(GuestClient& guest, bool to_head = false) {
    size_t size = 0;
    RunUntil([&] {
      size = AnswerSize(guest.received, to_head);
      return size > 0 || guest.ended() || guest.broken() || !guest.failure().empty();
    });
    const std::string answer = guest.received.substr(0, size);
    guest.received.erase(0, size);
    return answer;
  }

  /// The size of the answer that RECEIVED begins with; 0 while it is not complete.
  static size_t AnswerSize(const std::string& received, bool to_head) {
    const size_t head = received.find("\r\n\r\n");
    if (head == std::string::npos) return 0;
    const size_t body = head + 4;
    if (to_head || received.starts_with("HTTP/1.1 304") || received.starts_with("HTTP/1.1 1") ||
        received.starts_with("HTTP/1.1 204")) {
      return body;
    }
    const size_t length = received.find("Content-Length: ");
    if (length < head) {
      const size_t size = body + std::strtoul(received.c_str() + length + 16, nullptr, 10);
      return received.size() >= size ? size : 0;
    }
    if (received.find("Transfer-Encoding: chunked") > head) return 0;
    const size_t end = received.find("\r\n0\r\n\r\n", head);
    return end == std::string::npos ? 0 : end + 7;
  }

  /// Says, from the loop, that nothing was renewed.
  Pending NoRenewal(std::function<void(bool)> done) {
    if (!done) return {};
    auto later = std::make_shared<Loop::Handle>(loop->Post([done = std::move(done)] { done(false); }));
    return Pending([later] { *later = {}; });
  }

  const AuditRecord& LastRecord() {
    REQUIRE_FALSE(audit.records.empty());
    return audit.records.back();
  }

  Origin origin;
  LoopbackDialer dialer;
  policy::FakeEngine engine;
  secrets::Store secrets;
  RecordingAudit audit;
  policy::BudgetBook budgets{nullptr};
  std::vector<std::string> terminated;
  policy::FakeWaits waits;
  RenewSecrets renew;  // What a 401 leads to; nothing is renewed without it.
  SecretLifetime lifetime;  // Nothing is known of any without it.
  std::unique_ptr<Interceptor> interceptor;
};

inline std::string Get(const std::string& path, const std::string& fields = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: api.test\r\n" + fields + "\r\n";
}

inline int StatusOf(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9)) : 0;
}

inline bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace sallyport::mitm
