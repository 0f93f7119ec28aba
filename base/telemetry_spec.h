#pragma once

#include <optional>
#include <string>

#include "base/http_url.h"
#include "base/secret_source.h"

namespace sallyport {

/// Where telemetry of a sandbox goes: a collector that speaks OTLP over HTTP (`run --otlp`).
struct TelemetrySpec {
  HttpUrl url;  ///< The collector's base: "/v1/logs" and "/v1/metrics" come behind its path.
  /// EnvSource or FileSource: "name=value,name=value", as OTEL_EXPORTER_OTLP_HEADERS has them.
  std::optional<PlainSource> headers;
  std::string sandbox;  ///< The sandbox's id.
  bool operator==(const TelemetrySpec&) const = default;
};

}  // namespace sallyport
