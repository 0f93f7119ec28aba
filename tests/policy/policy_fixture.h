#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "policy/engine.h"

namespace sallyport::policy {

inline Engine::Loaded Load(std::string text) {
  return Engine::Load(
      {.text = std::move(text), .name = "policy.lua", .folder = "/home/me/project"});
}

/// All diagnostics, one a line.
inline std::string Diagnose(std::string text) {
  std::string all;
  for (const Diagnostic& diagnostic : Load(std::move(text)).diagnostics)
    all += diagnostic.ToString() + "\n";
  return all;
}

inline bool Contains(std::string_view text, std::string_view piece) {
  return text.find(piece) != text.npos;
}

inline HostName Name(std::string_view text) {
  return *HostName::Parse(text);
}

/// A verdict with all that is read of it, as values.
struct ReadVerdict : FlowVerdict {
  ReadVerdict(FlowVerdict verdict, const Facts& facts = {})
      : FlowVerdict(std::move(verdict)),
        rule(FlowVerdict::rule()),
        filter(FlowVerdict::filter()),
        to(FlowVerdict::to()),
        budget(FlowVerdict::budget()) {
    if (action == Action::kDeny) refusal = Explain(facts);
  }
  std::string rule;
  AddressFilter filter;
  std::optional<Authority> to;
  RuleBudgetPtr budget;
  Refusal refusal;
};

/// A policy that loads, and what it decides.
class Policy {
 public:
  explicit Policy(std::string text) {
    auto loaded = Load(std::move(text));
    for (const Diagnostic& diagnostic : loaded.diagnostics) UNSCOPED_INFO(diagnostic.ToString());
    engine_ = std::move(loaded.engine);
    REQUIRE(engine_ != nullptr);
  }

  Engine& engine() { return *engine_; }

  static Facts Named(std::string_view host, uint16_t port, Transport transport = Transport::kTcp) {
    Facts facts;
    facts.flow = 7;
    facts.transport = transport;
    facts.source = *Endpoint::Parse("10.0.2.15:40000");
    facts.destination.port = port;
    facts.name = Name(host);
    return facts;
  }

  static Facts Direct(std::string_view endpoint, Transport transport = Transport::kTcp) {
    Facts facts;
    facts.flow = 8;
    facts.transport = transport;
    facts.source = *Endpoint::Parse("10.0.2.15:40000");
    facts.destination = *Endpoint::Parse(endpoint);
    return facts;
  }

  ReadVerdict Flow(const Facts& facts) { return {engine_->DecideFlow(facts), facts}; }

  /// "raw", "http", "wait" or "deny".
  std::string Action(const Facts& facts) {
    switch (Flow(facts).action) {
      case FlowVerdict::Action::kDeny:
        return "deny";
      case FlowVerdict::Action::kRaw:
        return "raw";
      case FlowVerdict::Action::kHttp:
        return "http";
      case FlowVerdict::Action::kWait:
        return "wait";
    }
    return "?";
  }

  /// Decides a request on a new flow to HOST.
  RequestVerdict Request(std::string_view host, RequestHead& request, uint16_t port = 443) {
    const Facts facts = Named(host, port);
    const ReadVerdict flow = Flow(facts);
    RequestVerdict verdict;
    verdict.refusal.detail = "the flow is not HTTP: " + flow.refusal.detail;
    if (flow.action != FlowVerdict::Action::kHttp) return verdict;
    TlsFacts tls;
    tls.encrypted = port != 80;
    tls.sni = std::string(host);
    tls.alpn = "h2";
    tls.version = "TLSv1.3";
    return engine_->DecideRequest(*flow.http, facts, tls, request);
  }

  static RequestHead Head(std::string_view method, std::string_view path,
                          std::string_view scheme = "https") {
    RequestHead head;
    head.method = method;
    head.scheme = scheme;
    const size_t mark = path.find('?');
    head.path = path.substr(0, mark);
    if (mark != path.npos) head.query = path.substr(mark + 1);
    return head;
  }

  RequestVerdict Request(std::string_view host, std::string_view method, std::string_view path) {
    RequestHead head = Head(method, path);
    return Request(host, head);
  }

  bool Forwards(std::string_view host, std::string_view method, std::string_view path) {
    return Request(host, method, path).action == RequestVerdict::Action::kForward;
  }

  bool Resolves(std::string_view name) { return engine_->DecideName(Name(name)).grantable; }

 private:
  std::unique_ptr<Engine> engine_;
};

/// A file that can't be loaded.
struct Mistake {
  std::string text;
  const char* message;  ///< A piece of what is said about it.
};

inline void CheckMistakes(std::initializer_list<Mistake> mistakes) {
  for (const Mistake& mistake : mistakes) {
    INFO(mistake.text);
    const std::string said = Diagnose(mistake.text);
    CHECK_THAT(said, Catch::Contains(": error: ") && Catch::Contains(mistake.message));
    CHECK(Load(mistake.text).engine == nullptr);
  }
}

}  // namespace sallyport::policy
