#include "runtime/broker/telemetry.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>
#include <vector>

#include "runtime/broker/webhook.h"
#include "secrets/secret.h"

namespace sallyport::runtime {

using namespace std::chrono_literals;

namespace {

bool IsBusy(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

/// BASE with PATH behind its own.
HttpUrl UrlOf(const HttpUrl& base, const char* path) {
  HttpUrl url = base;
  while (url.target.ends_with('/')) url.target.pop_back();
  url.target += path;
  return url;
}

}  // namespace

std::chrono::milliseconds RetryAfter(const Headers& headers) {
  const std::string* text = headers.Find("retry-after");
  if (text == nullptr) return 0ms;
  uint32_t seconds = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), seconds);
  // A date (RFC 9110, 10.2.3) is answered with our own back-off.
  if (parsed.ec != std::errc() || parsed.ptr != text->data() + text->size()) return 0ms;
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(seconds),
                                             Telemetry::kMaxRetryAfter);
}

Telemetry::Telemetry(Loop& loop, HttpClient& http, TelemetrySpec spec, Headers headers)
    : loop_(loop),
      http_(http),
      spec_(std::move(spec)),
      headers_(std::move(headers)),
      metrics_(std::chrono::system_clock::now()),
      metrics_sent_(loop.Time()) {}

Telemetry::~Telemetry() {
  for (auto& field : headers_.fields()) secrets::WipeString(field.value);
}

void Telemetry::Take(std::string_view lines, uint64_t lost) {
  const auto now = std::chrono::system_clock::now();
  if (lost > 0) Drop(lost, "they came faster than they could be passed on");
  uint64_t dropped = 0;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    auto record = LogRecordOf(lines.substr(0, end), now, metrics_);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    metrics_changed_ = true;
    const bool full = records_.size() >= kMaxRecords || record_bytes_ >= kMaxBytes;
    if (!record || full) {
      ++dropped;
      continue;
    }
    record_bytes_ += record->size();
    records_.push_back(*std::move(record));
  }
  if (dropped > 0) Drop(dropped, "more came than could be kept");
  if (back_off_ || sending_ != Sending::kNothing) return;
  if (records_.size() >= kMaxBatch) return SendNext();
  if (!delay_) delay_ = loop_.After(kDelay, [this] { SendNext(); });
}

bool Telemetry::metrics_wanted() const {
  if (!metrics_changed_ || metrics_refused_) return false;
  return flushed_ || loop_.Time() - metrics_sent_ >= kMetricsEvery;
}

void Telemetry::SendNext() {
  delay_ = {};
  if (back_off_ || sending_ != Sending::kNothing) return;
  if (!records_.empty()) return SendLogs();
  if (metrics_wanted()) return SendMetrics();
  if (flushed_) return EndFlush({});
  // What was counted since is sent when it is time, also if nothing more comes.
  if (metrics_changed_ && !metrics_refused_) {
    const auto due = metrics_sent_ + kMetricsEvery - loop_.Time();
    delay_ = loop_.After(std::max<Clock::duration>(due, 1ms), [this] { SendNext(); });
  }
}

void Telemetry::SendLogs() {
  std::vector<std::string_view> batch;
  size_t bytes = 0;
  for (const auto& record : records_) {
    if (batch.size() >= kMaxBatch || (bytes > 0 && bytes + record.size() > kMaxBatchBytes)) break;
    bytes += record.size();
    batch.push_back(record);
  }
  batch_ = batch.size();
  sending_ = Sending::kLogs;
  Post("/v1/logs", LogsDocument(spec_.sandbox, batch));
}

void Telemetry::SendMetrics() {
  sending_ = Sending::kMetrics;
  metrics_changed_ = false;
  metrics_sent_ = loop_.Time();
  Post("/v1/metrics", metrics_.Document(spec_.sandbox, std::chrono::system_clock::now()));
}

void Telemetry::Post(const char* path, std::string document) {
  HttpRequest request;
  request.url = UrlOf(spec_.url, path);
  // The user named the collector, so it may be anywhere that he means.
  request.private_network = true;
  request.deadline = kDeadline;
  request.called = OriginOf(spec_.url);
  request.headers = headers_;
  request.headers.Add("Content-Type", "application/json");
  request.headers.Add("User-Agent", "sallyport");
  request.body.text = std::move(document);
  posting_ = http_.Post(std::move(request),
                        [this](Result<HttpAnswer> answer) { OnAnswer(std::move(answer)); });
}

void Telemetry::OnAnswer(Result<HttpAnswer> answer) {
  if (!answer) return BackOff(0ms, answer.error().message());
  const std::string status = "it answered with status " + std::to_string(answer->status);
  if (IsBusy(answer->status)) return BackOff(RetryAfter(answer->headers), status);
  failures_ = 0;
  if (answer->status < 200 || answer->status > 299) {
    OnRefused(status);
  } else {
    OnDelivered(*answer);
  }
  sending_ = Sending::kNothing;
  SendNext();
}

void Telemetry::OnDelivered(const HttpAnswer& answer) {
  const uint64_t rejected = RejectedBy(answer.body.text);
  const uint64_t most = sending_ == Sending::kLogs ? batch_ : 0;
  if (sending_ == Sending::kLogs) PopBatch();
  if (rejected > 0) Drop(std::min(rejected, most), "the collector refused some of them");
}

void Telemetry::OnRefused(const std::string& why) {
  if (sending_ == Sending::kMetrics) {
    metrics_refused_ = true;
    return Tell("metrics: " + why);
  }
  const uint64_t count = batch_;
  PopBatch();
  Drop(count, why);
}

/// The same again, later.
void Telemetry::BackOff(std::chrono::milliseconds at_least, const std::string& why) {
  if (sending_ == Sending::kMetrics) metrics_changed_ = true;
  sending_ = Sending::kNothing;
  batch_ = 0;
  const auto doubled = kFirstBackOff * (1 << std::min(failures_, 5U));
  ++failures_;
  if (failures_ >= 3) Tell(why);
  if (flushed_) return EndFlush(why);
  const auto wait = std::max<std::chrono::milliseconds>(
      std::min<std::chrono::milliseconds>(doubled, kMaxBackOff), at_least);
  back_off_ = loop_.After(wait, [this] {
    back_off_ = {};
    SendNext();
  });
}

void Telemetry::PopBatch() {
  for (; batch_ > 0; --batch_) {
    record_bytes_ -= records_.front().size();
    records_.pop_front();
  }
}

void Telemetry::Drop(uint64_t records, const std::string& why) {
  dropped_ += records;
  metrics_.CountDropped(records);
  metrics_changed_ = true;
  if (!flushed_) Tell(why);
}

void Telemetry::Tell(const std::string& why) {
  if (std::exchange(told_, true)) return;
  std::fprintf(stderr, "sandbox-broker: telemetry for %s is not delivered: %s\n",
               OriginOf(spec_.url).c_str(), why.c_str());
}

void Telemetry::Flush(std::chrono::milliseconds limit, std::function<void()> done) {
  flushed_ = std::move(done);
  if (back_off_) return EndFlush("the collector can't be reached");
  flush_limit_ = loop_.After(limit, [this] { EndFlush("it did not answer in time"); });
  if (sending_ == Sending::kNothing) SendNext();
}

/// What is still there is dropped: WHY, if there is anything.
void Telemetry::EndFlush(const std::string& why) {
  const auto done = std::exchange(flushed_, nullptr);
  flush_limit_ = {};
  posting_ = {};
  sending_ = Sending::kNothing;
  batch_ = 0;
  const uint64_t left = records_.size();
  records_.clear();
  record_bytes_ = 0;
  dropped_ += left;
  metrics_.CountDropped(left);
  if (left > 0) Tell(why);
  if (dropped_ > 0) {
    std::fprintf(stderr, "sandbox-broker: %llu records of telemetry were dropped\n",
                 static_cast<unsigned long long>(dropped_));
  }
  if (done) done();
}

}  // namespace sallyport::runtime
