#pragma once

#include <memory>
#include <utility>

#include "policy/engine.h"

namespace sallyport::policy {

/// The policy of a sandbox that runs: the one it was started with, until another one takes its
/// place. Everybody who decides keeps a reference to this one; what they were granted by an earlier
/// policy is granted anew, or not, when they use it (Engine::DecideRequest).
class LiveEngine final : public Engine {
 public:
  explicit LiveEngine(std::unique_ptr<Engine> engine) : current_(std::move(engine)) {}

  /// From now on NEXT decides. Not from inside of a decision.
  void Replace(std::unique_ptr<Engine> next) {
    current_ = std::move(next);
    ++generation_;
    if (log_) current_->SetLog(log_);
  }
  uint64_t generation() const override { return generation_; }

  const SandboxOptions& sandbox() const override { return current_->sandbox(); }
  const DnsOptions& dns() const override { return current_->dns(); }
  const UpstreamOptions& upstream() const override { return current_->upstream(); }
  const std::vector<SecretSpec>& secrets() const override { return current_->secrets(); }
  void AddSecret(SecretSpec spec) override { current_->AddSecret(std::move(spec)); }
  void SetPlaceholder(std::string_view secret, std::string placeholder) override {
    current_->SetPlaceholder(secret, std::move(placeholder));
  }
  void SetLog(LogSink log) override {
    log_ = log;
    current_->SetLog(std::move(log));
  }
  NameVerdict DecideName(const HostName& name) override { return current_->DecideName(name); }
  NameVerdict DecideQuery(const HostName& name, const NameQuery& query) override {
    return current_->DecideQuery(name, query);
  }
  FlowVerdict DecideFlow(const Facts& facts) override { return current_->DecideFlow(facts); }
  RequestVerdict DecideRequest(HttpGrant& grant, const Facts& facts, const TlsFacts& tls,
                               RequestHead& request) override {
    return current_->DecideRequest(grant, facts, tls, request);
  }
  bool SeesResponses(const Facts& facts) const override { return current_->SeesResponses(facts); }
  ResponseVerdict DecideResponse(const Facts& facts, const TlsFacts& tls,
                                 const RequestHead& request, ResponseHead& response) override {
    return current_->DecideResponse(facts, tls, request, response);
  }
  std::string FlowTerms(const Facts& facts) override { return current_->FlowTerms(facts); }

 private:
  std::unique_ptr<Engine> current_;
  uint64_t generation_ = 1;
  LogSink log_;
};

}  // namespace sallyport::policy
