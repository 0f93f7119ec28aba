#include "runtime/api/audit_line.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace sallyport {
namespace {

using nlohmann::json;

// Takes members of one line; whatever has another type than it should makes the line none.
class Members {
 public:
  explicit Members(const json& line) : line_(line) {}

  void Take(const char* key, std::string& value) {
    const auto found = line_.find(key);
    if (found == line_.end()) return;
    valid_ = valid_ && found->is_string();
    if (valid_) value = found->get<std::string>();
  }
  void Take(const char* key, bool& value) {
    const auto found = line_.find(key);
    if (found == line_.end()) return;
    valid_ = valid_ && found->is_boolean();
    if (valid_) value = found->get<bool>();
  }
  template <class Number>
  void Take(const char* key, Number& value) {
    const auto found = line_.find(key);
    if (found == line_.end()) return;
    valid_ = valid_ && found->is_number_unsigned() &&
             found->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<Number>::max());
    if (valid_) value = static_cast<Number>(found->get<uint64_t>());
  }
  void Take(const char* key, std::vector<std::string>& values) {
    const auto found = line_.find(key);
    if (found == line_.end()) return;
    valid_ = valid_ && found->is_array();
    for (const auto& value : *found) {
      valid_ = valid_ && value.is_string();
      if (valid_) values.push_back(value.get<std::string>());
    }
  }
  bool valid() const { return valid_; }

 private:
  const json& line_;
  bool valid_ = true;
};

std::string Join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text.append(text.empty() ? "" : ",").append(word);
  return text;
}

void Append(std::string& text, std::string_view before, std::string_view word) {
  if (word.empty()) return;
  text.append(before).append(word);
}

std::string Number(uint64_t value) {
  return value == 0 ? "" : std::to_string(value);
}

/// The log escapes what acts on terminals; a reader of JSON has it back.
std::string ForTerminal(std::string_view text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are C2 80 to C2 9F; U+2028 to U+202E and U+2066 to U+2069 begin with E2.
    const auto next = [&](size_t at) {
      return i + at < text.size() ? static_cast<unsigned char>(text[i + at]) : 0U;
    };
    const bool c1 = byte == 0xC2 && next(1) >= 0x80 && next(1) <= 0x9F;
    const bool direction =
        byte == 0xE2 && ((next(1) == 0x80 && next(2) >= 0xA8 && next(2) <= 0xAE) ||
                         (next(1) == 0x81 && next(2) >= 0xA6 && next(2) <= 0xA9));
    if (byte < 0x20 || byte == 0x7F || c1 || direction) {
      safe += '?';
      i += c1 ? 1 : direction ? 2 : 0;
    } else {
      safe += text[i];
    }
  }
  return safe;
}

std::string Target(const AuditLine& line) {
  std::string host = !line.name.empty() ? line.name : line.address;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  if (line.transport == "dns") return host;
  if (line.direction == "in") return "from " + host + " to port " + std::to_string(line.port);
  const bool http = line.transport == "http" || line.transport == "https";
  const bool usual = line.port == (line.transport == "https" ? 443 : 80);
  if (line.port != 0 && !(http && usual)) host += ":" + std::to_string(line.port);
  return http && !line.path.empty() ? line.transport + "://" + host + line.path : host;
}

}  // namespace

std::optional<AuditLine> AuditLine::Parse(std::string_view text) {
  const json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  AuditLine line;
  Members members(parsed);
  members.Take("time", line.time);
  members.Take("sandbox", line.sandbox);
  members.Take("generation", line.generation);
  members.Take("flow", line.flow);
  members.Take("transport", line.transport);
  members.Take("direction", line.direction);
  members.Take("name", line.name);
  members.Take("address", line.address);
  members.Take("port", line.port);
  members.Take("method", line.method);
  members.Take("path", line.path);
  members.Take("status", line.status);
  members.Take("rule", line.rule);
  members.Take("verdict", line.verdict);
  members.Take("reason", line.reason);
  members.Take("learnt", line.learnt);
  members.Take("by_policy", line.by_policy);
  members.Take("detail", line.detail);
  members.Take("level", line.level);
  members.Take("message", line.message);
  members.Take("place", line.place);
  members.Take("how_to_allow", line.how_to_allow);
  members.Take("secrets", line.secrets);
  members.Take("bytes_up", line.bytes_up);
  members.Take("bytes_down", line.bytes_down);
  members.Take("duration_us", line.duration_us);
  members.Take("repeat", line.repeat);
  if (const auto held = parsed.find("suppressed"); held != parsed.end() && held->is_object()) {
    Members counts(*held);
    counts.Take("allow", line.suppressed_allow);
    counts.Take("deny", line.suppressed_deny);
    counts.Take("messages", line.suppressed_messages);
    if (!counts.valid()) return std::nullopt;
  }
  if (!members.valid() || line.time.empty()) return std::nullopt;
  return line;
}

std::optional<std::string> AuditLine::Get(std::string_view key) const {
  if (key == "time") return time;
  if (key == "sandbox") return sandbox;
  if (key == "generation") return Number(generation);
  if (key == "flow") return Number(flow);
  if (key == "transport") return transport;
  if (key == "direction") return direction;
  if (key == "name") return name;
  if (key == "address") return address;
  if (key == "port") return Number(port);
  if (key == "method") return method;
  if (key == "path") return path;
  if (key == "status") return Number(static_cast<uint64_t>(status));
  if (key == "rule") return rule;
  if (key == "verdict") return verdict;
  if (key == "reason") return reason;
  if (key == "learnt") return learnt ? "true" : "";
  if (key == "by_policy") return by_policy ? "true" : "";
  if (key == "detail") return detail;
  if (key == "how_to_allow") return how_to_allow;
  if (key == "level") return level;
  if (key == "message") return message;
  if (key == "place") return place;
  if (key == "secrets") return Join(secrets);
  if (key == "bytes_up") return Number(bytes_up);
  if (key == "bytes_down") return Number(bytes_down);
  if (key == "duration_us") return Number(duration_us);
  if (key == "repeat") return Number(repeat);
  return std::nullopt;
}

const std::vector<std::string_view>& AuditLine::Keys() {
  static const std::vector<std::string_view> keys = {
      "time",   "sandbox", "flow",      "generation", "transport", "direction", "name",    "address",
      "port",   "method",  "path",      "status",     "rule",         "verdict", "reason",
      "learnt", "by_policy", "detail",  "level",      "message",      "place",   "how_to_allow",
      "secrets", "bytes_up", "bytes_down", "duration_us", "repeat"};
  return keys;
}

std::string AuditLine::ToText() const {
  if (suppressed_allow + suppressed_deny + suppressed_messages > 0) {
    std::string more = time + " " + sandbox + " … " + std::to_string(suppressed_allow) +
                       " more allowed and " + std::to_string(suppressed_deny) + " more denied";
    if (suppressed_messages > 0) {
      more += ", " + std::to_string(suppressed_messages) + " more messages of the policy";
    }
    return ForTerminal(more);
  }
  std::string text = time + " " + sandbox;
  Append(text, "/", Number(flow));
  if (!level.empty()) {
    text += "  " + level + "  " + place + ": " + message;
    if (repeat > 1) text += "  x" + std::to_string(repeat);
    return ForTerminal(text);
  }
  text += verdict != "allow" ? "  DENY   " : learnt ? "  learnt " : "  allow  ";
  text += transport;
  Append(text, " ", method);
  Append(text, " ", Target(*this));
  if (transport == "control") Append(text, ": ", detail);
  Append(text, " -> ", Number(static_cast<uint64_t>(status)));
  if (reason != "allowed") Append(text, "  ", reason);
  Append(text, "  by ", rule);
  Append(text, "  with ", Join(secrets));
  if (repeat > 1) text += "  x" + std::to_string(repeat);
  return ForTerminal(text);
}

}  // namespace sallyport
