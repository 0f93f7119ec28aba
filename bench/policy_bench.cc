// What a decision of a policy costs with 10,000 rules loaded, how long such a file takes to load,
// and the memory of a policy that uses every preset.
//
//     policy_bench [--json] [ROUNDS]
//
// Each decision is timed by itself by the wall clock, whose own cost, its least, is taken off;
// loading by CPU time. `flow` and `name` ask for another of the 10,000 names and addresses each
// time (and some that no rule speaks of), so caches are cold; `same_flows` for 64, again and again,
// as a guest does. A round gives the median and the 99th percentile; with --json each round's are
// printed, for bench/run policy.

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "policy/engine.h"
#include "policy/presets.h"

namespace sallyport::policy {
namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t kRules = 10'000;
constexpr size_t kDecisions = 100'000;  // Of one kind in a round.
constexpr size_t kFew = 64;             // A guest speaks with few servers, again and again.
constexpr size_t kCallbacks = 20'000;

// Every kind of rule, mixed: of ten rules, six for exact names, one for a zone, one for raw TCP,
// one for addresses, and one deny.
std::string PolicyText() {
  std::string text;
  for (size_t i = 0; i < kRules; ++i) {
    const std::string n = std::to_string(i);
    switch (i % 10) {
      case 0:
        text += "allow.http { host = '*.zone" + n + ".example.com', method = { 'GET', 'HEAD' } }\n";
        break;
      case 1:
        text += "allow.tcp { host = 'db" + n + ".example.net', port = 5432 }\n";
        break;
      case 2:
        text += "allow.tcp { ip = '10." + std::to_string(i / 250) + "." + std::to_string(i % 250) +
                ".0/24', port = 22 }\n";
        break;
      case 3:
        text += "deny.http { host = 'bad" + n + ".example.com', reason = 'no' }\n";
        break;
      default:
        text += "allow.http { host = 'api" + n +
                ".example.com', method = { 'GET', 'POST' }, path = { '/v1/**', '/user' } }\n";
    }
  }
  return text;
}

std::unique_ptr<Engine> Load(const std::string& text) {
  auto loaded = Engine::Load({.text = text, .name = "policy.lua", .folder = "/"});
  for (const auto& diagnostic : loaded.diagnostics) {
    std::fprintf(stderr, "%s\n", diagnostic.ToString().c_str());
  }
  SALLYPORT_CHECK(loaded.engine != nullptr);
  return std::move(loaded.engine);
}

double Nanoseconds(Steady::duration duration) {
  return static_cast<double>(std::chrono::nanoseconds(duration).count());
}

double CpuMilliseconds() {
  timespec time{};
  SALLYPORT_CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
}

double ClockCost() {
  auto least = Steady::duration::max();
  for (int i = 0; i < 10'000; ++i) {
    const auto began = Steady::now();
    least = std::min(least, Steady::now() - began);
  }
  return Nanoseconds(least);
}

struct Figures {
  double median = 0;
  double p99 = 0;
};

// Times DECIDE(question) for COUNT questions that MAKE(0), MAKE(1) … return. Each is made just before, as
// what asks does: it is no part of the decision to fetch it, and 100,000 that lie ready would push
// the policy out of the caches.
template <class Make, class Decide>
Figures Time(size_t count, Make&& make, Decide&& decide) {
  static const double kClock = ClockCost();
  std::vector<double> times;
  times.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    auto question = make(i);
    const auto began = Steady::now();
    decide(question);
    times.push_back(Nanoseconds(Steady::now() - began) - kClock);
  }
  std::sort(times.begin(), times.end());
  return {times[count / 2], times[count * 99 / 100]};
}

Facts Named(const std::string& host, uint16_t port) {
  Facts facts;
  facts.name = *HostName::Parse(host);
  facts.destination.port = port;
  return facts;
}

class Bench {
 public:
  Bench() : random_(1) {
    for (size_t i = 0; i < kDecisions; ++i)
      asked_.push_back(static_cast<uint32_t>(random_() % (kRules + kRules / 10)));
  }

  void Round(std::map<std::string, std::vector<double>>& all) {
    const std::string text = PolicyText();
    const double began = CpuMilliseconds();
    auto engine = Load(text);
    all["load_ms"].push_back(CpuMilliseconds() - began);
    Decisions(*engine, all);
    engine.reset();
    Callbacks(all);
    Memory(all);
  }

 private:
  static Facts Flow(uint32_t i) {
    const std::string n = std::to_string(i);
    switch (i % 10) {
      case 0:
        return Named("a.b.zone" + n + ".example.com", 443);
      case 1:
        return Named("db" + n + ".example.net", 5432);
      case 2: {
        Facts facts;
        facts.destination = {IpAddress::V4(10, static_cast<uint8_t>(i / 250 % 256),
                                           static_cast<uint8_t>(i % 250), 7),
                             22};
        return facts;
      }
      case 3:
        return Named("bad" + n + ".example.com", 443);
      default:
        return Named("api" + n + ".example.com", 443);
    }
  }

  static void Add(const char* name, const Figures& figures,
                  std::map<std::string, std::vector<double>>& all) {
    all[std::string(name) + "_median_ns"].push_back(figures.median);
    all[std::string(name) + "_p99_ns"].push_back(figures.p99);
  }

  void Decisions(Engine& engine, std::map<std::string, std::vector<double>>& all) {
    size_t granted = 0;
    const auto name = [&](const HostName& asked) { granted += engine.DecideName(asked).grantable; };
    const auto flow = [&](const Facts& facts) {
      granted += engine.DecideFlow(facts).action != FlowVerdict::Action::kDeny;
    };
    const auto any_name = [&](size_t i) {
      return *HostName::Parse("api" + std::to_string(asked_[i]) + ".example.com");
    };
    const auto any_flow = [&](size_t i) { return Flow(asked_[i]); };
    const auto few_flows = [&](size_t i) { return Flow(asked_[i % kFew]); };
    Add("name", Time(kDecisions, any_name, name), all);
    Add("flow", Time(kDecisions, any_flow, flow), all);
    Add("same_flows", Time(kDecisions, few_flows, flow), all);
    SALLYPORT_CHECK(granted > kDecisions);
    Requests(engine, all);
  }

  void Requests(Engine& engine, std::map<std::string, std::vector<double>>& all) {
    struct Granted {
      Facts facts;
      std::shared_ptr<HttpGrant> grant;
    };
    RequestHead request;
    request.method = "POST";
    request.scheme = "https";
    request.path = "/v1/some/object/1234";
    const TlsFacts tls{.encrypted = true, .sni = {}, .alpn = "h2", .version = "TLSv1.3"};
    const auto make = [&](size_t i) {
      // Not each flow is granted HTTP: the next that is.
      for (;; ++i) {
        Facts facts = Flow(asked_[i % kDecisions]);
        auto verdict = engine.DecideFlow(facts);
        if (verdict.http != nullptr) return Granted{facts, std::move(verdict.http)};
      }
    };
    const auto decide = [&](const Granted& flow) {
      (void)engine.DecideRequest(*flow.grant, flow.facts, tls, request);
    };
    Add("request", Time(kDecisions, make, decide), all);
  }

  // The same flows with a function instead of rules.
  void Callbacks(std::map<std::string, std::vector<double>>& all) {
    auto engine = Load(
        "on.connect(function(conn)\n"
        "  local http = conn:match_http '*.example.com:443'\n"
        "  if http then http:accept() end\n"
        "end)\n");
    const auto make = [&](size_t i) { return Flow(asked_[i]); };
    const auto flow = [&](const Facts& facts) { (void)engine->DecideFlow(facts); };
    Add("callback", Time(kCallbacks, make, flow), all);
  }

  static void Memory(std::map<std::string, std::vector<double>>& all) {
    std::string text;
    for (const Preset& preset : Presets()) text += "use '" + std::string(preset.name) + "'\n";
    malloc_trim(0);
    const size_t before = mallinfo2().uordblks;
    auto engine = Load(text);
    all["presets_bytes"].push_back(static_cast<double>(mallinfo2().uordblks - before));
  }

  std::mt19937 random_;
  std::vector<uint32_t> asked_;  // Numbers of names and flows.
};

void Print(const std::map<std::string, std::vector<double>>& all, bool json) {
  if (json) std::printf("{");
  const char* comma = "";
  for (const auto& [name, samples] : all) {
    if (json) {
      std::printf("%s\"%s\": [", comma, name.c_str());
      for (size_t i = 0; i < samples.size(); ++i)
        std::printf("%s%g", i > 0 ? ", " : "", samples[i]);
      std::printf("]");
    } else {
      std::vector<double> sorted = samples;
      std::sort(sorted.begin(), sorted.end());
      std::printf("%-22s %12.1f\n", name.c_str(), sorted[sorted.size() / 2]);
    }
    comma = ",\n ";
  }
  std::printf(json ? "}\n" : "");
}

}  // namespace
}  // namespace sallyport::policy

int main(int argc, char** argv) {
  using namespace sallyport::policy;
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const char* rounds_text = argc > (json ? 2 : 1) ? argv[json ? 2 : 1] : "7";
  const int rounds = std::max(1, std::atoi(rounds_text));
  Bench bench;
  std::map<std::string, std::vector<double>> all;
  for (int i = 0; i < rounds; ++i) bench.Round(all);
  Print(all, json);
}
