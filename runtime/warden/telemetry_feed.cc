#include "runtime/warden/telemetry_feed.h"

#include <utility>

namespace sallyport::runtime {

void TelemetryFeed::Take(std::string_view line) {
  if (broker_.unsent() > kMaxUnsent || line.size() > kMaxHeld) {
    ++left_out_;
    return;
  }
  held_.append(line);
  if (held_.size() >= kMaxHeld) return PassOn();
  if (!delay_) delay_ = loop_.After(kDelay, [this] { PassOn(); });
}

void TelemetryFeed::PassOn() {
  delay_ = {};
  if (held_.empty() && left_out_ == 0) return;
  BrokerRequest request;
  request.kind = BrokerRequest::Kind::kTelemetry;
  request.id = std::exchange(left_out_, 0);
  request.bytes = std::exchange(held_, {});
  broker_.send(request);
}

}  // namespace sallyport::runtime
