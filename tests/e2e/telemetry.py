#!/usr/bin/env python3
"""`run --otlp`: a local collector that holds every document to OTLP's JSON encoding."""

import json
import re
import threading
import time

from harness import PLAIN, ROOT, World, main, netns, test
from harness.hook import Hook
from harness.sandbox import poll

POLICY = """
allow.http { host = "whoami.example.test", method = "GET" }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
LINE = 'curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/a?q=hidden; curl -sS http://evil.example.test/'
VALUE = "ghp_TheRealValue000000000000000000000001"


def check_value(value):
    [(kind, content)] = value.items()
    if kind == "stringValue":
        assert isinstance(content, str)
    elif kind == "intValue":  # 64-bit numbers are strings in proto3's JSON.
        assert isinstance(content, str) and re.fullmatch(r"-?\d+", content), content
    elif kind == "boolValue":
        assert isinstance(content, bool)
    elif kind == "arrayValue":
        for one in content["values"]:
            check_value(one)
    else:
        raise AssertionError(kind)


def attributes(holder):
    found = {}
    for attribute in holder["attributes"]:
        assert set(attribute) == {"key", "value"} and attribute["key"] not in found, attribute
        check_value(attribute["value"])
        [found[attribute["key"]]] = attribute["value"].values()
    return found


def nanoseconds(text):
    assert re.fullmatch(r"\d{19}", text), text
    return int(text)


def check_resource(group):
    resource = attributes(group["resource"])
    assert resource["service.name"] == "sallyport" and resource["service.instance.id"].startswith("sp-"), resource
    assert resource["service.version"]


def records_of(document):
    assert set(document) == {"resourceLogs"}, document.keys()
    for group in document["resourceLogs"]:
        assert set(group) == {"resource", "scopeLogs"}
        check_resource(group)
        for scope in group["scopeLogs"]:
            assert set(scope) == {"scope", "logRecords"} and scope["scope"]["name"] == "sallyport"
            for record in scope["logRecords"]:
                assert set(record) == {"timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText",
                                       "body", "attributes"}, record.keys()
                assert abs(nanoseconds(record["timeUnixNano"]) / 1e9 - time.time()) < 600
                nanoseconds(record["observedTimeUnixNano"])
                assert record["severityNumber"] in (9, 13) and set(record["body"]) == {"stringValue"}
                yield attributes(record)


def metrics_of(document):
    assert set(document) == {"resourceMetrics"}, document.keys()
    for group in document["resourceMetrics"]:
        check_resource(group)
        for scope in group["scopeMetrics"]:
            for metric in scope["metrics"]:
                kind = "histogram" if "histogram" in metric else "sum"
                assert set(metric) == {"name", "unit", kind}, metric
                data = metric[kind]
                assert data["aggregationTemporality"] == 2 and (kind == "histogram" or data["isMonotonic"] is True)
                for point in data["dataPoints"]:
                    assert nanoseconds(point["startTimeUnixNano"]) <= nanoseconds(point["timeUnixNano"])
                    if kind == "sum":
                        assert isinstance(point["asInt"], str) and point["asInt"].isdigit()
                    else:
                        assert len(point["bucketCounts"]) == len(point["explicitBounds"]) + 1
                        assert sum(map(int, point["bucketCounts"])) == int(point["count"])
                    yield metric["name"], attributes(point), point


class Collector(Hook):
    def __init__(self, world, answer=None, tls=False):
        certificate = None
        if tls:
            certificate = world.ca.issue("collector", ["collector.example.test"])
            world.dns.zone["collector.example.test"] = ["11.0.0.81"]
        super().__init__("11.0.0.81" if tls else "127.0.0.1", certificate, answer)
        self.url = f"https://collector.example.test:{self.port}/base/" if tls else f"http://127.0.0.1:{self.port}"

    def records(self):
        return [r for post in self.posts if post.path.endswith("/v1/logs") for r in records_of(json.loads(post.body))]

    def metrics(self):
        """Of the last document."""
        last = [post for post in self.posts if post.path.endswith("/v1/metrics")][-1]
        return list(metrics_of(json.loads(last.body)))


def run(world, collector, user=ROOT, more=(), env=None, line=LINE):
    return world.run(line, POLICY, user, options=["--otlp", collector.url, *more], env={"API_TOKEN": VALUE, **(env or {})})


@test("a collector is told each line of the audit log, and what was counted, before the sandbox is over")
@netns.on_host
def _(world):
    for user in (ROOT, PLAIN):
        with Collector(world) as collector:
            result = run(world, collector, user)
            records = collector.records()
            assert len(records) == len(result.audit) > 1, (records, result)
            assert {post.headers["Content-Type"] for post in collector.posts} == {"application/json"}
            [asked] = [r for r in records if r.get("url.path") == "/a"]
            assert asked["http.request.method"] == "GET" and asked["http.response.status_code"] == "200", asked
            assert asked["server.address"] == "whoami.example.test" and asked["server.port"] == "443", asked
            assert asked["sallyport.verdict"] == "allow" and asked["sallyport.rule"] == "policy.lua:2", asked
            assert asked["sallyport.secrets"] == {"values": [{"stringValue": "API_TOKEN"}]}, asked
            [denied] = [r for r in records if r["sallyport.transport"] == "http"]
            assert denied["sallyport.verdict"] == "deny" and denied["server.address"] == "evil.example.test", denied
            everything = b"".join(post.body for post in collector.posts)
            assert VALUE.encode() not in everything and b"hidden" not in everything
            counted = {(a["sallyport.verdict"], a["sallyport.transport"]): int(p["asInt"])
                       for name, a, p in collector.metrics() if name == "sallyport.decisions"}
            assert counted[("allow", "https")] == 1 and counted[("deny", "http")] == 1, counted
            names = {name for name, _, _ in collector.metrics()}
            assert names == {"sallyport.decisions", "sallyport.flows", "sallyport.io", "sallyport.duration",
                             "sallyport.telemetry.dropped"}, names
            assert "telemetry" not in result.errors, result


@test("headers come from a variable or a file, go by TLS alone, and are never shown")
def _(world):
    with Collector(world, tls=True) as collector:
        result = run(world, collector, more=["--otlp-headers", "COLLECTOR"], env={"COLLECTOR": "authorization=Bearer%20hunter2"})
        assert collector.posts[0].path == "/base/v1/logs", collector.posts[0].path
        assert {post.headers["authorization"] for post in collector.posts} == {"Bearer hunter2"}
        assert b"hunter2" not in result.out + result.err
        file = world.folder_for(ROOT) / "headers"
        file.write_text("x-key=hunter3\n")
        collector.posts.clear()
        run(world, collector, more=["--otlp-headers", f"@{file}"])
        assert collector.posts[-1].headers["x-key"] == "hunter3"
        for wrong in ({"COLLECTOR": "hunter2"}, {}):
            refused = run(world, collector, more=["--otlp-headers", "COLLECTOR"], env=wrong)
            assert refused.code == 125 and "--otlp-headers" in refused.errors and "hunter2" not in refused.errors, refused
    plain = world.run("true", POLICY, options=["--otlp", "http://collector.example.test/", "--otlp-headers", "COLLECTOR"],
                      env={"API_TOKEN": VALUE, "COLLECTOR": "a=b"})
    assert plain.code == 125 and "https://" in plain.errors, plain


@test("the environment's collector is taken only where --otlp env asks for it, with its headers")
@netns.on_host
def _(world):
    with Collector(world) as collector:
        env = {"API_TOKEN": VALUE, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=1"}
        world.run(LINE, POLICY, env=env)
        assert not collector.posts
        world.run(LINE, POLICY, env=env, options=["--otlp", "env"])
        assert {post.headers["x-key"] for post in collector.posts} == {"1"}
        collector.posts.clear()
        world.run(LINE, POLICY, env=env, options=["--otlp", collector.url])
        assert {post.headers["x-key"] for post in collector.posts} == {None}  # They are for the other one.
    unset = world.run("true", POLICY, env={"API_TOKEN": VALUE}, options=["--otlp", "env"])
    assert unset.code == 125 and "OTEL_EXPORTER_OTLP_ENDPOINT is not set" in unset.errors, unset


@test("a busy collector is asked again when it says, and gets each record once")
@netns.on_host
def _(world):
    answers = iter([(429, b"", {"Retry-After": "1"}), (503, b"")])
    with Collector(world, lambda post: next(answers, (200, b"{}"))) as collector:
        line = LINE + "; until test -e /shared/go; do sleep 0.1; done"
        folder = world.folder_for(ROOT)
        running = world.start(["sh", "-c", line], POLICY, options=["--otlp", collector.url, "-v", f"{folder}:/shared"],
                              env={"API_TOKEN": VALUE})
        assert poll(lambda: len(collector.posts) >= 3, 30), collector.posts
        (folder / "go").touch()
        result = running.finish()
        delivered = collector.posts[2:]
        records = [r for post in delivered if post.path == "/v1/logs" for r in records_of(json.loads(post.body))]
        assert len(records) == len(result.audit), (len(records), result)
        assert "telemetry" not in result.errors, result


@test("a collector that is not there, or refuses, costs nothing but telemetry, told once")
@netns.on_host
def _(world):
    with Collector(world, lambda post: (400, b"no")) as refusing:
        for url, words in (("http://127.0.0.1:9", "refused"), (refusing.url, "status 400")):
            result = world.run(LINE, POLICY, options=["--otlp", url], env={"API_TOKEN": VALUE}).expect(0)
            assert b"hello /a" in result.out, result
            told = [line for line in result.errors.splitlines() if "telemetry" in line]
            assert len([line for line in told if "not delivered" in line]) == 1 and words in result.errors, result
            assert re.search(r"\b\d+ records of telemetry were dropped", result.errors), result


@test("a collector that takes for ever holds up the end for its bound only")
@netns.on_host
def _(world):
    free = threading.Event()

    def hang(_):
        free.wait(60)
        return 200, b"{}"

    with Collector(world, hang) as collector:
        try:
            result = run(world, collector)
            assert b"hello /a" in result.out and "records of telemetry were dropped" in result.errors, result
        finally:
            free.set()


@test("what a collector says that it refused is counted as dropped")
@netns.on_host
def _(world):
    with Collector(world, lambda post: (200, b'{"partialSuccess":{"rejectedLogRecords":"1"}}')) as collector:
        result = run(world, collector)
        batches = len([post for post in collector.posts if post.path == "/v1/logs"])
        assert f"{batches} records of telemetry were dropped" in result.errors, result  # One of each.


@test("nothing is left behind")
def _(world):
    world.nothing_left()
    assert world.audit_violations() == []


if __name__ == "__main__":
    main(World)
