#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policy/engine.h"
#include "policy/rule.h"

namespace sallyport::policy {

/// What grants the flow of VERDICT, to be changed.
inline Rule& RuleOf(FlowVerdict& verdict) {
  auto rule = std::make_shared<Rule>(verdict.by != nullptr ? *verdict.by : Rule());
  verdict.by = rule;
  return *rule;
}

/// A policy whose decisions about requests are a function. Everything else is as in an empty file.
class FakeEngine final : public Engine {
 public:
  using Decide = std::function<RequestVerdict(const Facts&, const TlsFacts&, RequestHead&)>;

  FakeEngine() : decide_([](const Facts&, const TlsFacts&, RequestHead&) { return Forward(); }) {}

  static RequestVerdict Forward() {
    RequestVerdict verdict;
    verdict.action = RequestVerdict::Action::kForward;
    verdict.rule = "policy.lua:1";
    return verdict;
  }
  static RequestVerdict Deny(Refusal refusal) {
    RequestVerdict verdict;
    verdict.refusal = std::move(refusal);
    return verdict;
  }
  void OnRequest(Decide decide) { decide_ = std::move(decide); }

  /// A grant that stands for nothing: this engine never looks into one.
  static std::shared_ptr<HttpGrant> Grant() {
    const auto owner = std::make_shared<char>();
    return {owner, reinterpret_cast<HttpGrant*>(owner.get())};
  }

  const SandboxOptions& sandbox() const override { return sandbox_; }
  const DnsOptions& dns() const override { return dns_; }
  const UpstreamOptions& upstream() const override { return upstream_; }
  const std::vector<SecretSpec>& secrets() const override { return secrets_; }
  void AddSecret(SecretSpec spec) override { secrets_.push_back(std::move(spec)); }
  void SetPlaceholder(std::string_view, std::string) override {}
  NameVerdict DecideName(const HostName&) override { return {}; }
  FlowVerdict DecideFlow(const Facts&) override { return {}; }
  RequestVerdict DecideRequest(HttpGrant&, const Facts& facts, const TlsFacts& tls,
                               RequestHead& request) override {
    ++asked;
    return decide_(facts, tls, request);
  }

  bool SeesResponses(const Facts&) const override { return static_cast<bool>(decide_response_); }
  ResponseVerdict DecideResponse(const Facts&, const TlsFacts&, const RequestHead& request,
                                 ResponseHead& response) override {
    return decide_response_(request, response);
  }
  using DecideAnswer = std::function<ResponseVerdict(const RequestHead&, ResponseHead&)>;
  void OnResponse(DecideAnswer decide) { decide_response_ = std::move(decide); }

  int asked = 0;

 private:
  Decide decide_;
  DecideAnswer decide_response_;
  SandboxOptions sandbox_;
  DnsOptions dns_;
  UpstreamOptions upstream_;
  std::vector<SecretSpec> secrets_;
};

}  // namespace sallyport::policy
