// A policy of any text: it loads or says why, in bounded time, and what loads decides: names,
// flows, requests and answers, with whatever its functions wait for. The budget is a small one, as
// most mutations of a loop never end.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "policy/load.h"

using namespace sallyport;
using namespace sallyport::policy;

namespace {

const HostName kName = *HostName::Parse("api.example.com");
const TlsFacts kTls{true, "api.example.com", "h2", "TLSv1.3"};

/// What comes of WAIT: a yes, a short body, an answer.
WaitResult ResultOf(const Wait& wait) {
  if (std::holds_alternative<AskWait>(wait)) return Approval::kApproved;
  if (std::holds_alternative<BodyWait>(wait)) return ReadBody{"{\"a\": 1}"};
  if (!std::holds_alternative<FetchWait>(wait)) return Slept{};
  Fetched fetched;
  fetched.status = 200;
  fetched.body = "yes";
  return fetched;
}

/// The verdict after all waits; RESUME goes on with the result of one.
template <class Verdict, class Resume>
Verdict Settled(Verdict verdict, Resume&& resume) {
  for (size_t waits = 0; verdict.action == Verdict::Action::kWait; ++waits) {
    SALLYPORT_CHECK(verdict.suspended != nullptr && waits <= kMaxWaits + 1);
    const auto suspended = verdict.suspended;
    verdict = resume(*suspended, ResultOf(suspended->wait()));
  }
  return verdict;
}

void Answer(Engine& engine, const Facts& facts, const RequestHead& request) {
  if (!engine.SeesResponses(facts)) return;
  ResponseHead response;
  response.status = 200;
  response.headers.Add("Content-Type", "application/json");
  Settled(engine.DecideResponse(facts, kTls, request, response),
          [&](SuspendedResponse& suspended, WaitResult result) {
            return suspended.Resume(std::move(result), response);
          });
}

void Ask(Engine& engine, HttpGrant& grant, const Facts& facts) {
  RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.path = "/x/%2e%2e/y";
  head.headers.Add("Cookie", "a=b");
  const auto verdict = Settled(engine.DecideRequest(grant, facts, kTls, head),
                               [&](SuspendedRequest& suspended, WaitResult result) {
                                 return suspended.Resume(std::move(result), head);
                               });
  if (verdict.action == RequestVerdict::Action::kForward) Answer(engine, facts, head);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Engine::Source source{std::string(reinterpret_cast<const char*>(data), size), "policy.lua",
                              "/project"};
  const auto loaded = LoadWithBudget(source, Budget{200'000, std::chrono::milliseconds(500)});
  for (const Diagnostic& diagnostic : loaded.diagnostics)
    SALLYPORT_CHECK(!diagnostic.ToString().empty());
  if (loaded.engine == nullptr) {
    SALLYPORT_CHECK(!loaded.diagnostics.empty());
    return 0;
  }
  Engine& engine = *loaded.engine;
  for (const SecretSpec& secret : engine.secrets())
    engine.SetPlaceholder(secret.name, "placeholder");
  engine.DecideName(kName);
  Facts facts;
  facts.name = kName;
  facts.destination.port = 443;
  const FlowVerdict flow =
      Settled(engine.DecideFlow(facts), [](SuspendedFlow& suspended, WaitResult result) {
        return suspended.Resume(std::move(result));
      });
  if (flow.action == FlowVerdict::Action::kHttp) Ask(engine, *flow.http, facts);
  facts.name.reset();
  facts.destination = {IpAddress::V4(10, 0, 0, 1), 22};
  engine.DecideFlow(facts);
  return 0;
}
