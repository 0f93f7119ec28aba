#include "runtime/broker/otlp_document.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "sallyport_versions.h"

namespace sallyport::runtime {

namespace {

using nlohmann::json;

// Series of one metric: some forty reasons, two verdicts, seven transports. More would be made up.
constexpr size_t kMaxSeries = 512;
// Flows that are known to have been counted. A request on an older one counts it again.
constexpr size_t kMaxFlowsSeen = 16384;
constexpr int kCumulative = 2;  // AGGREGATION_TEMPORALITY_CUMULATIVE
constexpr int kInfo = 9;        // SEVERITY_NUMBER_INFO
constexpr int kWarn = 13;       // SEVERITY_NUMBER_WARN

std::string Nanoseconds(WallTime time) {
  using std::chrono::nanoseconds;
  return std::to_string(std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count());
}

std::string Dumped(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

json Attribute(std::string key, const std::string& value) {
  return {{"key", std::move(key)}, {"value", {{"stringValue", value}}}};
}

json Attribute(std::string key, uint64_t value) {
  return {{"key", std::move(key)}, {"value", {{"intValue", std::to_string(value)}}}};
}

json Resource(const std::string& sandbox) {
  return {{"attributes",
           {Attribute("service.name", std::string("sallyport")),
            Attribute("service.version", std::string(versions::kSallyport)),
            Attribute("service.instance.id", sandbox)}}};
}

json Scope() {
  return {{"name", "sallyport"}, {"version", versions::kSallyport}};
}

// The years that have all their nanoseconds since 1970 in 64 bits.
constexpr int kFirstYear = 1970;
constexpr int kLastYear = 2261;

/// Nanoseconds since 1970 of an RFC 3339 time as the audit log has it; nothing for any other text.
std::optional<std::string> ReadTime(std::string_view text) {
  if (text.size() != 24 || text[10] != 'T' || text[19] != '.' || text[23] != 'Z')
    return std::nullopt;
  const auto number = [&text](size_t at, size_t size) {
    int value = -1;
    const char* end = text.data() + at + size;
    return std::from_chars(text.data() + at, end, value).ptr == end ? value : -1;
  };
  const int year = number(0, 4);
  const int month = number(5, 2);
  const int day = number(8, 2);
  if (year < kFirstYear || year > kLastYear || month < 1 || day < 1) return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const auto time = sys_days(date) + hours(number(11, 2)) + minutes(number(14, 2)) +
                    seconds(number(17, 2)) + milliseconds(number(20, 3));
  return Nanoseconds(time_point_cast<system_clock::duration>(time));
}

/// What an audit line says under KEY; empty or 0 where it says nothing, or something else.
class Line {
 public:
  explicit Line(const json& line) : line_(line) {}
  std::string Text(const char* key) const {
    const auto found = line_.find(key);
    return found != line_.end() && found->is_string() ? found->get<std::string>() : "";
  }
  uint64_t Number(const char* key) const {
    const auto found = line_.find(key);
    return found != line_.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  }
  const json* Find(const char* key) const {
    const auto found = line_.find(key);
    return found != line_.end() ? &*found : nullptr;
  }

 private:
  const json& line_;
};

/// What semantic conventions have a name for goes by that, all else by our own.
void AddConventional(const Line& line, json& attributes) {
  const std::string transport = line.Text("transport");
  const bool http = transport == "http" || transport == "https";
  const auto add = [&attributes](const char* key, const std::string& value) {
    if (!value.empty()) attributes.push_back(Attribute(key, value));
  };
  const std::string name = line.Text("name");
  add("server.address", name.empty() ? line.Text("address") : name);
  if (line.Number("port") > 0) attributes.push_back(Attribute("server.port", line.Number("port")));
  add("network.peer.address", line.Text("address"));
  if (transport == "tcp" || transport == "udp") add("network.transport", transport);
  if (transport == "dns") add("network.protocol.name", "dns");
  if (transport == "dns") add("dns.question.name", name);
  if (!http) return add("sallyport.method", line.Text("method"));
  add("network.protocol.name", "http");
  add("url.scheme", transport);
  add("url.path", line.Text("path"));
  add("http.request.method", line.Text("method"));
  if (line.Number("status") > 0) {
    attributes.push_back(Attribute("http.response.status_code", line.Number("status")));
  }
}

void AddOwn(const Line& line, json& attributes) {
  for (const char* key : {"transport", "direction", "verdict", "reason", "rule", "detail",
                          "how_to_allow", "message", "place"}) {
    const std::string value = line.Text(key);
    if (!value.empty()) attributes.push_back(Attribute(std::string("sallyport.") + key, value));
  }
  for (const char* key :
       {"flow", "generation", "bytes_up", "bytes_down", "duration_us", "repeat"}) {
    const uint64_t value = line.Number(key);
    if (value > 0) attributes.push_back(Attribute(std::string("sallyport.") + key, value));
  }
  for (const char* key : {"learnt", "by_policy"}) {
    const json* value = line.Find(key);
    if (value == nullptr || !value->is_boolean()) continue;
    attributes.push_back(
        {{"key", std::string("sallyport.") + key}, {"value", {{"boolValue", value->get<bool>()}}}});
  }
  const json* secrets = line.Find("secrets");
  if (secrets == nullptr || !secrets->is_array()) return;
  json values = json::array();
  for (const auto& name : *secrets) {
    if (name.is_string()) values.push_back({{"stringValue", name}});
  }
  attributes.push_back(
      {{"key", "sallyport.secrets"}, {"value", {{"arrayValue", {{"values", values}}}}}});
}

/// One line for people: "deny https GET api.example.com/x denied_by_rule".
std::string Summary(const Line& line) {
  if (const std::string message = line.Text("message"); !message.empty()) return message;
  std::string text;
  for (const char* key : {"verdict", "transport", "method", "name", "address", "path", "reason"}) {
    if (std::string_view(key) == "address" && !line.Text("name").empty()) continue;
    const std::string word = line.Text(key);
    if (word.empty()) continue;
    const bool joined = std::string_view(key) == "path";
    text.append(text.empty() || joined ? "" : " ").append(word);
  }
  return text;
}

/// Decisions that were only counted.
void AddSuppressed(const json& counts, json& attributes, OtlpMetrics& metrics) {
  const Line line(counts);
  for (const char* verdict : {"allow", "deny"}) {
    const uint64_t count = line.Number(verdict);
    if (count == 0) continue;
    attributes.push_back(Attribute(std::string("sallyport.suppressed.") + verdict, count));
    OtlpMetrics::Decision decision;
    decision.verdict = verdict;
    decision.reason = "suppressed";
    decision.count = count;
    metrics.Count(decision);
  }
  const uint64_t messages = line.Number("messages");
  if (messages > 0) attributes.push_back(Attribute("sallyport.suppressed.messages", messages));
}

void CountLine(const Line& line, OtlpMetrics& metrics) {
  OtlpMetrics::Decision decision;
  decision.verdict = line.Text("verdict");
  decision.reason = line.Text("reason");
  decision.transport = line.Text("transport");
  decision.count = std::max<uint64_t>(line.Number("repeat"), 1);
  decision.flow = line.Number("flow");
  decision.bytes_up = line.Number("bytes_up");
  decision.bytes_down = line.Number("bytes_down");
  const uint64_t microseconds = line.Number("duration_us");
  if (microseconds > 0) decision.seconds = static_cast<double>(microseconds) / 1e6;
  metrics.Count(decision);
}

/// The byte that "%41" at the front of TEXT stands for.
std::optional<char> Decoded(std::string_view text) {
  unsigned value = 0;
  if (text.size() < 3) return std::nullopt;
  const auto parsed = std::from_chars(text.data() + 1, text.data() + 3, value, 16);
  if (parsed.ptr != text.data() + 3) return std::nullopt;
  return static_cast<char>(value);
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<std::string> PercentDecoded(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    const auto byte = Decoded(text.substr(i));
    if (!byte) return std::nullopt;
    plain += *byte;
    i += 2;
  }
  return plain;
}

}  // namespace

Result<Headers> ParseOtlpHeaders(std::string_view text) {
  Headers headers;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t comma = text.find(',');
    const std::string_view entry = Trimmed(text.substr(0, comma));
    text = comma == text.npos ? std::string_view() : text.substr(comma + 1);
    if (entry.empty()) continue;
    const size_t equals = entry.find('=');
    const std::string name(Trimmed(entry.substr(0, equals)));
    const auto value =
        equals == entry.npos ? std::nullopt : PercentDecoded(Trimmed(entry.substr(equals + 1)));
    if (!IsToken(name) || !value || !IsFieldValue(*value)) {
      return Fail(Code::kInvalid, "entry " + std::to_string(number) + " is not name=value");
    }
    headers.Add(name, *value);
  }
  return headers;
}

void OtlpMetrics::CountFlow(uint64_t flow) {
  if (flow == 0 || !flows_seen_.insert(flow).second) return;
  ++flows_;
  if (flows_seen_.size() > kMaxFlowsSeen) flows_seen_.erase(flows_seen_.begin());
}

void OtlpMetrics::Count(const Decision& decision) {
  Series series{decision.verdict, decision.reason, decision.transport};
  if (decisions_.size() >= kMaxSeries && !decisions_.contains(series)) series = {"", "other", ""};
  decisions_[series] += decision.count;
  CountFlow(decision.flow);
  bytes_up_ += decision.bytes_up;
  bytes_down_ += decision.bytes_down;
  if (!decision.seconds) return;
  std::pair key{decision.verdict, decision.transport};
  if (durations_.size() >= kMaxSeries && !durations_.contains(key)) key = {"", ""};
  Durations& durations = durations_[key];
  const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), *decision.seconds);
  ++durations.buckets[static_cast<size_t>(bound - kBounds.begin())];
  ++durations.count;
  durations.sum += *decision.seconds;
}

std::string OtlpMetrics::Document(const std::string& sandbox, WallTime now) const {
  const std::string from = Nanoseconds(began_);
  const std::string to = Nanoseconds(now);
  const auto point = [&](json attributes) {
    return json{
        {"attributes", std::move(attributes)}, {"startTimeUnixNano", from}, {"timeUnixNano", to}};
  };
  const auto number = [&](json attributes, uint64_t value) {
    json made = point(std::move(attributes));
    made["asInt"] = std::to_string(value);
    return made;
  };
  const auto sum = [](const char* name, const char* unit, json points) {
    return json{{"name", name},
                {"unit", unit},
                {"sum",
                 {{"dataPoints", std::move(points)},
                  {"aggregationTemporality", kCumulative},
                  {"isMonotonic", true}}}};
  };
  json decisions = json::array();
  for (const auto& [series, count] : decisions_) {
    const auto& [verdict, reason, transport] = series;
    decisions.push_back(
        number({Attribute("sallyport.verdict", verdict), Attribute("sallyport.reason", reason),
                Attribute("sallyport.transport", transport)},
               count));
  }
  json durations = json::array();
  for (const auto& [key, histogram] : durations_) {
    json made = point(
        {Attribute("sallyport.verdict", key.first), Attribute("sallyport.transport", key.second)});
    made["count"] = std::to_string(histogram.count);
    made["sum"] = histogram.sum;
    made["explicitBounds"] = kBounds;
    made["bucketCounts"] = json::array();
    for (const uint64_t count : histogram.buckets)
      made["bucketCounts"].push_back(std::to_string(count));
    durations.push_back(std::move(made));
  }
  const auto direction = [](const char* word) {
    return json::array({Attribute("network.io.direction", std::string(word))});
  };
  json metrics = {
      sum("sallyport.decisions", "{decision}", std::move(decisions)),
      sum("sallyport.flows", "{flow}", json::array({number(json::array(), flows_)})),
      sum("sallyport.io", "By",
          json::array({number(direction("transmit"), bytes_up_),
                       number(direction("receive"), bytes_down_)})),
      sum("sallyport.telemetry.dropped", "{record}",
          json::array({number(json::array(), dropped_)})),
      json{{"name", "sallyport.duration"},
           {"unit", "s"},
           {"histogram",
            {{"dataPoints", std::move(durations)}, {"aggregationTemporality", kCumulative}}}}};
  return Dumped(
      {{"resourceMetrics",
        json::array({{{"resource", Resource(sandbox)},
                      {"scopeMetrics",
                       json::array({{{"scope", Scope()}, {"metrics", std::move(metrics)}}})}}})}});
}

std::optional<std::string> LogRecordOf(std::string_view text, WallTime now, OtlpMetrics& metrics) {
  const json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  const Line line(parsed);
  json attributes = json::array();
  AddConventional(line, attributes);
  AddOwn(line, attributes);
  if (const json* counts = line.Find("suppressed"); counts != nullptr && counts->is_object()) {
    AddSuppressed(*counts, attributes, metrics);
  } else if (!line.Text("verdict").empty()) {
    CountLine(line, metrics);
  }
  // A line of the policy's own has a level, and no verdict.
  const bool allowed = line.Text("verdict") == "allow" || line.Text("level") == "info";
  const std::string observed = Nanoseconds(now);
  return Dumped({{"timeUnixNano", ReadTime(line.Text("time")).value_or(observed)},
                 {"observedTimeUnixNano", observed},
                 {"severityNumber", allowed ? kInfo : kWarn},
                 {"severityText", allowed ? "INFO" : "WARN"},
                 {"body", {{"stringValue", Summary(line)}}},
                 {"attributes", std::move(attributes)}});
}

std::string LogsDocument(const std::string& sandbox, const std::vector<std::string_view>& records) {
  // The records are JSON already: they are put where the mark stands.
  constexpr std::string_view kMark = "\"records\"";
  const std::string frame = Dumped(
      {{"resourceLogs",
        json::array(
            {{{"resource", Resource(sandbox)},
              {"scopeLogs",
               json::array({{{"scope", Scope()}, {"logRecords", json::array({"records"})}}})}}})}});
  const size_t mark =
      frame.rfind(kMark);  // Behind it the sandbox's id may not stand: keys are sorted.
  std::string document = frame.substr(0, mark);
  for (size_t i = 0; i < records.size(); ++i) document.append(i > 0 ? "," : "").append(records[i]);
  return document.append(frame.substr(mark + kMark.size()));
}

uint64_t RejectedBy(std::string_view body) {
  const json answer = json::parse(body, nullptr, false);
  if (!answer.is_object()) return 0;
  const auto partial = answer.find("partialSuccess");
  if (partial == answer.end() || !partial->is_object()) return 0;
  uint64_t rejected = 0;
  for (const char* key : {"rejectedLogRecords", "rejectedDataPoints"}) {
    const auto found = partial->find(key);
    if (found == partial->end()) continue;
    if (found->is_number_unsigned()) rejected += found->get<uint64_t>();
    if (!found->is_string()) continue;
    const auto& text = found->get_ref<const std::string&>();
    uint64_t number = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc()) {
      rejected += number;
    }
  }
  return rejected;
}

}  // namespace sallyport::runtime
