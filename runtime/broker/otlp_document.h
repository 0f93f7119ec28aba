#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/http_message.h"
#include "base/result.h"

// Telemetry as OTLP has it (opentelemetry-proto 1.x, in its JSON encoding: 64-bit numbers are
// strings). What becomes of the audit log's keys is in docs/telemetry.md. No I/O.

namespace sallyport::runtime {

using WallTime = std::chrono::system_clock::time_point;

/// "name=value,name=value" with percent-encoded values, as OTEL_EXPORTER_OTLP_HEADERS has them. An
/// empty text has none. kInvalid says which entry is wrong, without its value.
Result<Headers> ParseOtlpHeaders(std::string_view text);

/// What a sandbox decided, counted since BEGAN: sums and histograms that only grow, so that one
/// that is not delivered costs nothing but time.
class OtlpMetrics {
 public:
  explicit OtlpMetrics(WallTime began) : began_(began) {}

  struct Decision {
    std::string verdict;
    std::string reason;
    std::string transport;
    uint64_t count = 1;
    uint64_t flow = 0;  ///< 0: of none.
    uint64_t bytes_up = 0;
    uint64_t bytes_down = 0;
    std::optional<double> seconds;
  };
  void Count(const Decision& decision);
  void CountDropped(uint64_t records) { dropped_ += records; }

  /// An ExportMetricsServiceRequest of SANDBOX.
  std::string Document(const std::string& sandbox, WallTime now) const;

 private:
  static constexpr std::array<double, 12> kBounds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                     0.5,   1,    2.5,   5,    10,  60};
  struct Durations {
    std::array<uint64_t, kBounds.size() + 1> buckets{};
    uint64_t count = 0;
    double sum = 0;
  };
  using Series = std::tuple<std::string, std::string, std::string>;  // Verdict, reason, transport.

  void CountFlow(uint64_t flow);

  const WallTime began_;
  std::map<Series, uint64_t> decisions_;
  std::map<std::pair<std::string, std::string>, Durations> durations_;  // By verdict and transport.
  std::set<uint64_t> flows_seen_;                                       // The latest.
  uint64_t flows_ = 0;
  uint64_t bytes_up_ = 0;
  uint64_t bytes_down_ = 0;
  uint64_t dropped_ = 0;
};

/// LINE, of the audit log, as a LogRecord; counted in METRICS, too. Nothing for what is no such
/// line.
std::optional<std::string> LogRecordOf(std::string_view line, WallTime now, OtlpMetrics& metrics);

/// An ExportLogsServiceRequest of SANDBOX with RECORDS.
std::string LogsDocument(const std::string& sandbox, const std::vector<std::string_view>& records);

/// How many of what was sent a collector says that it refused, in BODY of its answer
/// (partialSuccess); 0 where it says nothing.
uint64_t RejectedBy(std::string_view body);

}  // namespace sallyport::runtime
