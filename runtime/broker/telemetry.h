#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "base/http_message.h"
#include "base/loop.h"
#include "base/pending.h"
#include "base/telemetry_spec.h"
#include "runtime/broker/http_client.h"
#include "runtime/broker/otlp_document.h"

namespace sallyport::runtime {

/// Sends what a sandbox decides to a collector (OTLP over HTTP, JSON). Nobody waits for it but
/// Flush(): what can't be delivered is kept as far as there is room, then dropped, counted, and
/// told.
///
///     Take -> (kDelay, or a full batch) -> Send -> OnAnswer -> the next batch, or metrics
///                                           ^--- back-off ---+
///
/// One request at a time, of at most kMaxBatch records. A collector that is busy (429, 502, 503,
/// 504) or not there is asked again after a second, then two, up to half a minute, or when its
/// Retry-After says. What it refuses otherwise is dropped.
class Telemetry {
 public:
  /// All outlive it. HEADERS go with each request.
  Telemetry(Loop& loop, HttpClient& http, TelemetrySpec spec, Headers headers);
  ~Telemetry();

  /// LINES of the audit log, each with its newline; LOST others were left out before them.
  void Take(std::string_view lines, uint64_t lost);
  /// Sends what there is, and calls DONE when that was delivered or dropped: after LIMIT at the
  /// latest, at once while the collector can't be reached. DONE may be called before this returns.
  void Flush(std::chrono::milliseconds limit, std::function<void()> done);

  static constexpr size_t kMaxRecords = 4096;           ///< That are kept.
  static constexpr size_t kMaxBytes = size_t{8} << 20;  ///< Of those.
  static constexpr size_t kMaxBatch = 512;              ///< Records of a request.
  static constexpr size_t kMaxBatchBytes = size_t{1} << 20;
  static constexpr std::chrono::seconds kDelay{1};  ///< From a record to its request.
  static constexpr std::chrono::seconds kMetricsEvery{10};
  static constexpr std::chrono::seconds kDeadline{10};  ///< Of a request.
  static constexpr std::chrono::seconds kFirstBackOff{1};
  static constexpr std::chrono::seconds kMaxBackOff{30};
  static constexpr std::chrono::minutes kMaxRetryAfter{5};

 private:
  enum class Sending { kNothing, kLogs, kMetrics };

  void SendNext();
  void SendLogs();
  void SendMetrics();
  void Post(const char* path, std::string document);
  void OnAnswer(Result<HttpAnswer> answer);
  void OnDelivered(const HttpAnswer& answer);
  void OnRefused(const std::string& why);
  void BackOff(std::chrono::milliseconds at_least, const std::string& why);
  void PopBatch();
  void Drop(uint64_t records, const std::string& why);
  void Tell(const std::string& why);
  void EndFlush(const std::string& why);
  bool metrics_wanted() const;

  Loop& loop_;
  HttpClient& http_;
  const TelemetrySpec spec_;
  Headers headers_;
  OtlpMetrics metrics_;
  std::deque<std::string> records_;
  size_t record_bytes_ = 0;
  size_t batch_ = 0;  // Records at the front that are being sent.
  Sending sending_ = Sending::kNothing;
  Pending posting_;
  Loop::Handle delay_;
  Loop::Handle back_off_;
  Loop::Handle flush_limit_;
  std::function<void()> flushed_;  // Somebody waits in Flush().
  unsigned failures_ = 0;          // In a row.
  bool metrics_changed_ = false;
  bool metrics_refused_ = false;  // The collector takes none.
  Clock::time_point metrics_sent_;
  uint64_t dropped_ = 0;
  bool told_ = false;
};

/// How long a collector asks to be left alone: the seconds of its Retry-After, bounded; 0 without
/// one.
std::chrono::milliseconds RetryAfter(const Headers& headers);

}  // namespace sallyport::runtime
