#include "runtime/broker/otlp_document.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runtime/broker/telemetry.h"

namespace sallyport::runtime {
namespace {

using nlohmann::json;

const WallTime kNow = std::chrono::system_clock::from_time_t(1'700'000'000);

constexpr char kLine[] =
    R"({"time":"2026-11-21T20:00:00.123Z","sandbox":"sp-1","flow":7,"generation":2,"transport":"https",)"
    R"("name":"api.example.com","address":"192.0.2.1","port":443,"method":"GET","path":"/x","status":200,)"
    R"("rule":"policy.lua:3","verdict":"allow","reason":"allowed","secrets":["A","B"],"bytes_up":5,)"
    R"("bytes_down":9,"duration_us":1200})";

json RecordOf(std::string_view line, OtlpMetrics& metrics) {
  const auto record = LogRecordOf(line, kNow, metrics);
  REQUIRE(record);
  return json::parse(*record);
}

/// The value of attribute KEY, whatever its type.
json Attribute(const json& holder, const std::string& key) {
  for (const auto& attribute : holder["attributes"]) {
    if (attribute["key"] == key) return attribute["value"].begin().value();
  }
  return nullptr;
}

TEST_CASE("a line of the audit log becomes a record with conventional attributes") {
  OtlpMetrics metrics(kNow);
  const json record = RecordOf(kLine, metrics);
  CHECK(record["timeUnixNano"] == "1795291200123000000");
  CHECK(record["observedTimeUnixNano"] == "1700000000000000000");
  CHECK(record["severityNumber"] == 9);
  CHECK(record["body"]["stringValue"] == "allow https GET api.example.com/x allowed");
  for (const auto& [key, value] : std::map<std::string, json>{{"server.address", "api.example.com"},
                                                              {"server.port", "443"},
                                                              {"network.peer.address", "192.0.2.1"},
                                                              {"url.scheme", "https"},
                                                              {"url.path", "/x"},
                                                              {"http.request.method", "GET"},
                                                              {"http.response.status_code", "200"},
                                                              {"sallyport.verdict", "allow"},
                                                              {"sallyport.reason", "allowed"},
                                                              {"sallyport.rule", "policy.lua:3"},
                                                              {"sallyport.flow", "7"},
                                                              {"sallyport.bytes_up", "5"},
                                                              {"sallyport.duration_us", "1200"}}) {
    CAPTURE(key);
    CHECK(Attribute(record, key) == value);
  }
  CHECK(Attribute(record, "sallyport.secrets")["values"] ==
        json::array({{{"stringValue", "A"}}, {{"stringValue", "B"}}}));
}

TEST_CASE("a refusal is a warning, and a name that is looked up is a question") {
  OtlpMetrics metrics(kNow);
  const json record = RecordOf(
      R"({"time":"2026-11-21T20:00:00.123Z","transport":"dns","name":"evil.example","method":"A","verdict":"deny","reason":"name_not_granted"})",
      metrics);
  CHECK(record["severityNumber"] == 13);
  CHECK(Attribute(record, "dns.question.name") == "evil.example");
  CHECK(Attribute(record, "http.request.method") == nullptr);
}

TEST_CASE("a line of the policy's own is its message, and no decision") {
  OtlpMetrics metrics(kNow);
  const json record = RecordOf(
      R"({"time":"t","sandbox":"sp-1","flow":3,"level":"info","message":"hello","place":"policy.lua:4"})",
      metrics);
  CHECK(record["severityNumber"] == 9);
  CHECK(record["body"]["stringValue"] == "hello");
  CHECK(Attribute(record, "sallyport.place") == "policy.lua:4");
  const json learnt = RecordOf(R"({"time":"t","verdict":"allow","learnt":true})", metrics);
  CHECK(Attribute(learnt, "sallyport.learnt") == true);
  CHECK(json::parse(metrics.Document("sp-1", kNow))["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]
                   ["dataPoints"].size() == 1);
}

TEST_CASE("what is no line is none, and odd values are left out") {
  OtlpMetrics metrics(kNow);
  for (const char* text : {"", "x", "[]", "{\"time\":"})
    CHECK_FALSE(LogRecordOf(text, kNow, metrics));
  const json record = RecordOf(
      R"({"time":"yesterday","flow":-1,"name":[1],"secrets":"A","verdict":"deny"})", metrics);
  CHECK(record["timeUnixNano"] == "1700000000000000000");
  // Later than 64 bits of nanoseconds reach.
  CHECK(RecordOf(R"({"time":"4052-11-21T20:00:00.123Z","verdict":"deny"})", metrics)["timeUnixNano"] ==
        "1700000000000000000");
  CHECK(Attribute(record, "server.address") == nullptr);
}

TEST_CASE("a document holds the records as they are") {
  OtlpMetrics metrics(kNow);
  const auto one = *LogRecordOf(kLine, kNow, metrics);
  const json document = json::parse(LogsDocument("sp-\"records\"", {one, one}));
  const json& logs = document["resourceLogs"][0];
  CHECK(Attribute(logs["resource"], "service.name") == "sallyport");
  CHECK(Attribute(logs["resource"], "service.instance.id") == "sp-\"records\"");
  REQUIRE(logs["scopeLogs"][0]["logRecords"].size() == 2);
  CHECK(logs["scopeLogs"][0]["logRecords"][1] == json::parse(one));
}

/// The data points of METRIC.
json Points(const OtlpMetrics& metrics, const std::string& name) {
  const json document = json::parse(metrics.Document("sp-1", kNow + std::chrono::seconds(1)));
  for (const auto& metric : document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]) {
    if (metric["name"] != name) continue;
    const json& data = metric.contains("sum") ? metric["sum"] : metric["histogram"];
    CHECK(data["aggregationTemporality"] == 2);
    return data["dataPoints"];
  }
  return nullptr;
}

TEST_CASE("decisions, flows, bytes and durations are counted") {
  OtlpMetrics metrics(kNow);
  RecordOf(kLine, metrics);
  RecordOf(kLine, metrics);
  RecordOf(
      R"({"time":"t","flow":8,"transport":"tcp","verdict":"deny","reason":"no_rule","repeat":5})",
      metrics);
  RecordOf(R"({"time":"t","reason":"limit","suppressed":{"allow":812,"deny":3}})", metrics);
  metrics.CountDropped(4);
  std::map<std::string, std::string> counts;
  for (const auto& point : Points(metrics, "sallyport.decisions")) {
    CHECK(point["startTimeUnixNano"] == "1700000000000000000");
    CHECK(point["timeUnixNano"] == "1700000001000000000");
    counts[Attribute(point, "sallyport.verdict").get<std::string>() + " " +
           Attribute(point, "sallyport.reason").get<std::string>()] = point["asInt"];
  }
  CHECK(counts == std::map<std::string, std::string>{{"allow allowed", "2"},
                                                     {"allow suppressed", "812"},
                                                     {"deny no_rule", "5"},
                                                     {"deny suppressed", "3"}});
  CHECK(Points(metrics, "sallyport.flows")[0]["asInt"] == "2");
  CHECK(Points(metrics, "sallyport.io")[0]["asInt"] == "10");
  CHECK(Points(metrics, "sallyport.io")[1]["asInt"] == "18");
  CHECK(Points(metrics, "sallyport.telemetry.dropped")[0]["asInt"] == "4");
  const json durations = Points(metrics, "sallyport.duration");
  REQUIRE(durations.size() == 1);
  CHECK(durations[0]["count"] == "2");
  CHECK(durations[0]["bucketCounts"][0] == "2");
  CHECK(durations[0]["bucketCounts"].size() == durations[0]["explicitBounds"].size() + 1);
  CHECK(durations[0]["sum"].get<double>() == Approx(0.0024));
}

TEST_CASE("made-up reasons do not make endless series") {
  OtlpMetrics metrics(kNow);
  OtlpMetrics::Decision decision;
  decision.verdict = "deny";
  for (int i = 0; i < 2000; ++i) {
    decision.reason = "reason" + std::to_string(i);
    metrics.Count(decision);
  }
  CHECK(Points(metrics, "sallyport.decisions").size() <= 513);
}

TEST_CASE("headers are a list of names and percent-encoded values") {
  const auto headers = ParseOtlpHeaders(" authorization = Bearer%20abc , x-tenant=1,");
  REQUIRE(headers);
  REQUIRE(headers->fields().size() == 2);
  CHECK(*headers->Find("authorization") == "Bearer abc");
  CHECK(*headers->Find("x-tenant") == "1");
  CHECK(ParseOtlpHeaders("")->fields().empty());
  for (const char* wrong :
       {"secret", "=secret", "a b=secret", "a=secret%0d%0ax: y", "a=secret%", "a=secret%zz"}) {
    const auto none = ParseOtlpHeaders(wrong);
    REQUIRE_FALSE(none);
    CHECK(none.error().message().find("secret") == std::string::npos);
  }
}

TEST_CASE("a collector's partial success is understood, whatever it looks like") {
  CHECK(RejectedBy(R"({"partialSuccess":{"rejectedLogRecords":"3"}})") == 3);
  CHECK(RejectedBy(R"({"partialSuccess":{"rejectedDataPoints":2}})") == 2);
  for (const char* none : {"", "{}", "[]", R"({"partialSuccess":1})",
                           R"({"partialSuccess":{"rejectedLogRecords":"x"}})"}) {
    CHECK(RejectedBy(none) == 0);
  }
}

TEST_CASE("a collector that asks for a pause gets a bounded one") {
  const auto after = [](const char* value) {
    Headers headers;
    headers.Add("Retry-After", value);
    return RetryAfter(headers).count();
  };
  CHECK(after("7") == 7000);
  CHECK(after("999999") == 300'000);
  CHECK(after("-1") == 0);
  CHECK(after("Fri, 31 Dec 1999 23:59:59 GMT") == 0);
  CHECK(RetryAfter({}).count() == 0);
}

}  // namespace
}  // namespace sallyport::runtime
