#include "runtime/api/stats.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runtime/api/control.h"

namespace sallyport {
namespace {

struct Metric {
  const char* name;
  const char* type;
  const char* help;
};

// All that there are, in the order in which they are shown (docs/flows.md).
constexpr Metric kMetrics[] = {
    {"sallyport_uptime_seconds", "gauge", "Since the sandbox is up."},
    {"sallyport_policy_generation", "gauge", "Which loading of the policy is in force."},
    {"sallyport_audit_healthy", "gauge", "0: the audit log can't be written, all is denied."},
    {"sallyport_approvals_open", "gauge", "Questions that wait for the user."},
    {"sallyport_published_ports", "gauge", "Ports of the host that lead into the sandbox."},
    {"sallyport_published_clients", "gauge", "Connections and UDP clients of these."},
    {"sallyport_http_connections", "gauge", "Connections of the guest's whose HTTP is read."},
    {"sallyport_cpu_seconds_total", "counter", "CPU time of the gate's process."},
    {"sallyport_peak_resident_bytes", "gauge", "The most memory the gate's process has had."},
    {"sallyport_heap_bytes", "gauge", "Memory that the gate's process has allocated."},
    {"sallyport_frames_total", "counter", "Frames on the sandbox's link."},
    {"sallyport_flow_bytes_total", "counter", "Payload of the guest's flows."},
    {"sallyport_flows_begun_total", "counter", "Flows that a decision was asked about."},
    {"sallyport_flows_refused_total", "counter", "Of these, denied or failed."},
    {"sallyport_flows", "gauge", "Flows now; of UDP also refused ones that are remembered."},
    {"sallyport_flow_buffered_bytes", "gauge", "Payload that is held for either side."},
    {"sallyport_link_up", "gauge", "0: the sandbox's link is gone."},
    {"sallyport_drops_total", "counter", "What was dropped rather than answered, by reason."},
    {"sallyport_decisions_total", "counter",
     "Decisions, also those that the audit log counts only."},
};

/// `a="b",c="d"`, as the warden writes it: values without quotes or backslashes.
std::vector<std::pair<std::string, std::string>> ParseLabels(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> labels;
  while (!text.empty()) {
    const size_t equals = text.find("=\"");
    if (equals == text.npos) break;
    const size_t end = text.find('"', equals + 2);
    if (end == text.npos) break;
    labels.emplace_back(text.substr(0, equals), text.substr(equals + 2, end - equals - 2));
    text.remove_prefix(std::min(text.size(), end + 2));
  }
  return labels;
}

Result<SandboxStats> Ask(const std::string& sandbox) {
  auto reply = AskSandbox(sandbox, {"stats", {}});
  if (!reply) return tl::unexpected(std::move(reply).error());
  SandboxStats stats{.sandbox = sandbox, .numbers = {}};
  for (const auto& row : reply->rows) {
    if (row.size() != 3) return Fail(Code::kInvalid, "the sandbox's answer is none");
    stats.numbers.push_back({row[0], ParseLabels(row[1]), row[2]});
  }
  return stats;
}

/// The format's: a value may have anything.
std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string Sample(const SandboxStats& of, const SandboxNumber& number) {
  std::string line = number.name + "{sandbox=\"" + Escaped(of.sandbox) + "\"";
  for (const auto& [key, value] : number.labels) {
    line.append(",").append(key).append("=\"").append(Escaped(value)).append("\"");
  }
  return line + "} " + number.value + "\n";
}

}  // namespace

Result<std::vector<SandboxStats>> StatsOf(std::string_view sandbox) {
  std::vector<SandboxStats> all;
  if (!sandbox.empty()) {
    auto id = CompleteSandboxId(sandbox);
    if (!id) return tl::unexpected(std::move(id).error());
    auto stats = Ask(*id);
    if (!stats) return tl::unexpected(std::move(stats).error());
    all.push_back(*std::move(stats));
    return all;
  }
  auto running = ListSandboxes();
  if (!running) return tl::unexpected(std::move(running).error());
  for (const RunningSandbox& one : *running) {
    if (one.starting) continue;
    auto stats = Ask(one.id);
    if (stats) {
      all.push_back(*std::move(stats));
    } else if (stats.error().code() != Code::kNotFound) {  // Otherwise it is gone meanwhile.
      return tl::unexpected(std::move(stats).error());
    }
  }
  return all;
}

std::string ToPrometheus(const std::vector<SandboxStats>& stats) {
  std::string text;
  for (const Metric& metric : kMetrics) {
    std::string samples;
    for (const SandboxStats& of : stats) {
      for (const SandboxNumber& number : of.numbers) {
        if (number.name == metric.name) samples += Sample(of, number);
      }
    }
    if (samples.empty()) continue;
    text.append("# HELP ").append(metric.name).append(" ").append(metric.help).append("\n");
    text.append("# TYPE ").append(metric.name).append(" ").append(metric.type).append("\n");
    text += samples;
  }
  return text;
}

std::string ToJson(const std::vector<SandboxStats>& stats) {
  std::string text;
  for (const SandboxStats& of : stats) {
    nlohmann::ordered_json json;
    json["sandbox"] = of.sandbox;
    json["numbers"] = nlohmann::ordered_json::array();
    for (const SandboxNumber& number : of.numbers) {
      nlohmann::ordered_json one;
      one["name"] = number.name;
      one["labels"] = nlohmann::ordered_json::object();
      for (const auto& [key, value] : number.labels) one["labels"][key] = value;
      if (number.value.find('.') == std::string::npos) {
        one["value"] = std::strtoull(number.value.c_str(), nullptr, 10);
      } else {
        one["value"] = std::strtod(number.value.c_str(), nullptr);
      }
      json["numbers"].push_back(std::move(one));
    }
    text += json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  return text;
}

}  // namespace sallyport
