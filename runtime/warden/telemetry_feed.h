#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "runtime/broker/requests.h"

namespace sallyport::runtime {

/// Passes the audit log's lines on to the broker, many at a time, which sends them to a collector.
/// Never waits: while the broker takes nothing, lines are left out and counted.
class TelemetryFeed {
 public:
  struct Broker {
    std::function<void(const BrokerRequest&)> send;
    std::function<size_t()> unsent;  ///< Bytes that it has not taken yet.
  };
  /// LOOP outlives it.
  TelemetryFeed(Loop& loop, Broker broker) : loop_(loop), broker_(std::move(broker)) {}

  /// LINE has its newline.
  void Take(std::string_view line);
  /// Passes on what there is.
  void PassOn();

  static constexpr size_t kMaxUnsent = size_t{256} * 1024;
  static constexpr size_t kMaxHeld = size_t{32} * 1024;  ///< Passed on at once from there on.
  static constexpr std::chrono::milliseconds kDelay{200};

 private:
  Loop& loop_;
  const Broker broker_;
  std::string held_;
  uint64_t left_out_ = 0;
  Loop::Handle delay_;
};

}  // namespace sallyport::runtime
