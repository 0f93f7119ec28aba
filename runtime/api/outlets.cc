#include "runtime/api/outlets.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/address_class.h"
#include "runtime/warden/broker_outlets.h"

namespace sallyport {
namespace {

constexpr char kEnvironment[] = "env";
constexpr char kEndpointVariable[] = "OTEL_EXPORTER_OTLP_ENDPOINT";
constexpr char kHeadersVariable[] = "OTEL_EXPORTER_OTLP_HEADERS";

bool IsThisHost(const Host& host) {
  if (const auto* address = std::get_if<IpAddress>(&host)) {
    return Classify(*address) == AddressClass::kLoopback;
  }
  return std::get<HostName>(host).text() == "localhost";
}

/// The collector that the user's environment names, as it does for other programs.
Status TakeEnvironment(runtime::Launch& launch) {
  const char* url = std::getenv(kEndpointVariable);
  if (url == nullptr || *url == '\0') {
    return Fail(Code::kInvalid, std::string("--otlp env: ") + kEndpointVariable + " is not set");
  }
  launch.otlp_url = url;
  const char* headers = std::getenv(kHeadersVariable);
  if (headers != nullptr && *headers != '\0') launch.otlp_headers = kHeadersVariable;
  return {};
}

Status AddTelemetry(const SandboxConfig& config, runtime::Launch& launch) {
  if (!config.otlp) {
    if (config.otlp_headers)
      return Fail(Code::kInvalid, "--otlp-headers has no effect without --otlp");
    return {};
  }
  if (*config.otlp == kEnvironment) {
    if (auto taken = TakeEnvironment(launch); !taken) return taken;
  } else {
    launch.otlp_url = *config.otlp;
  }
  if (config.otlp_headers) {
    const bool is_file = config.otlp_headers->starts_with('@');
    launch.otlp_headers =
        is_file ? "@" + std::filesystem::absolute(config.otlp_headers->substr(1)).string()
                : *config.otlp_headers;
  }
  const auto url = HttpUrl::Parse(launch.otlp_url);
  if (!url) return tl::unexpected(Error(url.error()).In("--otlp"));
  if (!url->tls && !launch.otlp_headers.empty() && !IsThisHost(url->host)) {
    return Fail(Code::kInvalid, "--otlp " + launch.otlp_url +
                                    ": headers may be credentials, which go to another host by "
                                    "https:// only");
  }
  return {};
}

}  // namespace

Status AddOutlets(const SandboxConfig& config, runtime::Launch& launch) {
  if (config.approve_command) {
    if (config.approve_command->empty()) {
      return Fail(Code::kInvalid, "--approve-command: name a program");
    }
    launch.approve_command = {*config.approve_command};
    launch.approve_folder = std::filesystem::current_path();
  }
  return AddTelemetry(config, launch);
}

std::vector<SecretSource> OutletSources(const policy::Engine& engine,
                                        const runtime::Launch& launch) {
  std::vector<SecretSource> sources;
  const auto add = [&sources](const PlainSource& plain) {
    std::visit([&sources](const auto& source) { sources.emplace_back(source); }, plain);
  };
  if (const auto approvals = runtime::ApprovalsOf(engine.sandbox().approvals, launch)) {
    if (approvals->webhook && approvals->webhook->key) add(*approvals->webhook->key);
    if (approvals->command) sources.emplace_back(*approvals->command);
  }
  const auto telemetry = runtime::TelemetryOf(launch);
  if (telemetry && *telemetry && (*telemetry)->headers) add(*(*telemetry)->headers);
  return sources;
}

}  // namespace sallyport
