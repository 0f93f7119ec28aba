#include "runtime/api/flows.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/api/control.h"

namespace sallyport {
namespace {

constexpr size_t kFields = 10;
// A sandbox has at most 21 thousand, some hundred of which come at a time.
constexpr int kMaxPages = 1000;

uint64_t Number(const std::string& text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

SandboxFlow FlowOf(std::string_view sandbox, const std::vector<std::string>& row) {
  return {.sandbox = std::string(sandbox),
          .id = Number(row[0]),
          .direction = row[1],
          .transport = row[2],
          .name = row[3],
          .destination = row[4],
          .rule = row[5],
          .state = row[6],
          .bytes_up = Number(row[7]),
          .bytes_down = Number(row[8]),
          .age_ms = Number(row[9])};
}

/// Page by page; what begins and ends meanwhile may be missing.
Status AddFlows(std::string_view sandbox, std::vector<SandboxFlow>& flows) {
  uint64_t last = 0;
  for (int page = 0; page < kMaxPages; ++page) {
    auto reply = AskSandbox(sandbox, {"flows", {std::to_string(last)}});
    if (!reply) return tl::unexpected(std::move(reply).error());
    for (const auto& row : reply->rows) {
      if (row.size() != kFields) return Fail(Code::kInvalid, "the sandbox's answer is none");
      flows.push_back(FlowOf(sandbox, row));
    }
    if (reply->text != "more" || reply->rows.empty() || flows.back().id <= last) return {};
    last = flows.back().id;
  }
  return {};
}

}  // namespace

std::string SandboxFlow::ToJson() const {
  nlohmann::ordered_json json;
  json["sandbox"] = sandbox;
  json["flow"] = id;
  json["direction"] = direction;
  json["transport"] = transport;
  json["name"] = name;
  json["destination"] = destination;
  json["rule"] = rule;
  json["state"] = state;
  json["bytes_up"] = bytes_up;
  json["bytes_down"] = bytes_down;
  json["age_ms"] = age_ms;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::vector<SandboxFlow>> OpenFlows(std::string_view sandbox) {
  std::vector<SandboxFlow> flows;
  if (!sandbox.empty()) {
    auto id = CompleteSandboxId(sandbox);
    if (!id) return tl::unexpected(std::move(id).error());
    if (auto added = AddFlows(*id, flows); !added) return tl::unexpected(std::move(added).error());
    return flows;
  }
  auto running = ListSandboxes();
  if (!running) return tl::unexpected(std::move(running).error());
  for (const RunningSandbox& one : *running) {
    if (one.starting) continue;
    auto added = AddFlows(one.id, flows);
    // Gone meanwhile.
    if (!added && added.error().code() != Code::kNotFound)
      return tl::unexpected(std::move(added).error());
  }
  return flows;
}

}  // namespace sallyport
