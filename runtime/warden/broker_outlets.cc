#include "runtime/warden/broker_outlets.h"

#include <utility>

namespace sallyport::runtime {

std::optional<ApprovalSpec> ApprovalsOf(std::optional<ApprovalSpec> approvals,
                                        const Launch& launch) {
  if (launch.approve_command.empty()) return approvals;
  if (!approvals) approvals.emplace();
  approvals->command =
      CommandSource{.argv = launch.approve_command, .folder = launch.approve_folder};
  return approvals;
}

size_t ChannelsOf(const ApprovalSpec& approvals) {
  return (approvals.webhook ? 1U : 0U) + (approvals.command ? 1U : 0U);
}

Result<std::optional<TelemetrySpec>> TelemetryOf(const Launch& launch) {
  if (launch.otlp_url.empty()) return std::nullopt;
  TelemetrySpec telemetry;
  auto url = HttpUrl::Parse(launch.otlp_url);
  if (!url) return tl::unexpected(std::move(url).error().In("--otlp"));
  telemetry.url = *std::move(url);
  telemetry.sandbox = launch.sandbox;
  if (launch.otlp_headers.starts_with('@')) {
    telemetry.headers = FileSource{launch.otlp_headers.substr(1)};
  } else if (!launch.otlp_headers.empty()) {
    telemetry.headers = EnvSource{launch.otlp_headers};
  }
  return telemetry;
}

}  // namespace sallyport::runtime
