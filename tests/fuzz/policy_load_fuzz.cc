// A policy of any text: it loads or says why, in bounded time, and what loads decides. The budget
// is a small one, as most mutations of a loop never end.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "policy/load.h"

using namespace sallyport;
using namespace sallyport::policy;

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
  static const HostName kName = *HostName::Parse("api.example.com");
  engine.DecideName(kName);
  Facts facts;
  facts.name = kName;
  facts.destination.port = 443;
  const FlowVerdict flow = engine.DecideFlow(facts);
  if (flow.action == FlowVerdict::Action::kHttp) {
    RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.path = "/x/%2e%2e/y";
    head.headers.Add("Cookie", "a=b");
    engine.DecideRequest(*flow.http, facts, TlsFacts{true, "api.example.com", "h2", "TLSv1.3"},
                         head);
  }
  facts.name.reset();
  facts.destination = {IpAddress::V4(10, 0, 0, 1), 22};
  engine.DecideFlow(facts);
  return 0;
}
