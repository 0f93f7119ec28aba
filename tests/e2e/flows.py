#!/usr/bin/env python3
"""`flows` and `stats`: what a sandbox does now and what its gate has counted; a flood of new flows."""

import contextlib
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess

from harness import PLAIN, ROOT, World, main, netns, patience, test
from harness.runner import SLOW
from harness.sandbox import poll

DOCUMENT = (pathlib.Path(__file__).resolve().parents[2] / "docs/flows.md").read_text()
POLICY = """allow.tcp { host = "whoami.example.test", port = 80 }
allow.http { host = "second.example.test" }
"""
# Opens a connection, and asks for a page, when it is told to.
GUEST = r"""
import socket, subprocess, sys, threading
listener = socket.create_server(("127.0.0.1", 7))
sock = socket.create_connection(("whoami.example.test", 80))
sock.sendall(b"GET / HTTP/1.1\r\n")
subprocess.run(["curl", "-sS", "-o", "/dev/null", "https://second.example.test/"], check=True)
subprocess.run(["curl", "-sS", "-o", "/dev/null", "https://nobody.example.test/"])
print("ready", flush=True)
def serve():
    served, _ = listener.accept()
    served.sendall(b"hello")
    print("served", flush=True)
    served.recv(1)
threading.Thread(target=serve, daemon=True).start()
for line in sys.stdin:
    sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
    print("more", flush=True)
"""
FLOOD = r"""
import socket, sys, time, urllib.request
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
refused = 0
for i in range(60000):
    try:
        sock.sendto(b"x", (f"203.0.{113 + i % 3}.{i % 250 + 1}", 1000 + i // 750))
    except OSError:
        refused += 1
patience = time.monotonic() + 30
while True:  # Until new flows may begin again.
    try:
        print(urllib.request.urlopen("https://second.example.test/", timeout=30).status, flush=True)
        break
    except OSError:
        if time.monotonic() > patience:
            raise
sys.stdin.readline()
"""


class Guest:
    def __init__(self, world, user):
        self.world, self.user = world, user
        self.running = world.start(["python3", "-c", GUEST], POLICY, user=user, options=["-p", "0:7"])
        line = self.running.process.stderr.readline().decode()
        self.port = int(re.search(r"127\.0\.0\.1:(\d+) leads", line)[1])
        assert self.line() == "ready", self.running.finish()
        listed = world.sandboxctl("ls", user=user).expect(0).text.splitlines()
        self.id = listed[1].split()[0]

    def line(self):
        return self.running.process.stdout.readline().decode().strip()

    def more(self):
        self.running.process.stdin.write(b"more\n")
        self.running.process.stdin.flush()
        assert self.line() == "more"

    def ask(self, *arguments):
        return self.world.sandboxctl(*arguments, user=self.user).expect(0).text

    def flows(self):
        return [json.loads(line) for line in self.ask("flows", "--json", self.id[:6]).splitlines()]


@contextlib.contextmanager
def guest(world, user=ROOT):
    running = Guest(world, user)
    try:
        yield running
    finally:
        running.result = running.running.finish(b"")


def only(flows, **fields):
    found = [flow for flow in flows if all(flow[key] == value for key, value in fields.items())]
    assert len(found) == 1, (fields, flows)
    return found[0]


for user, who in ((ROOT, "root"), (PLAIN, "a plain user")):
    @test(f"flows shows what is open, in and out, with its rule and what it carried, for {who}")
    @netns.on_host
    def _(world, user=user):
        with guest(world, user) as running, socket.create_connection(("127.0.0.1", running.port)) as client:
            assert running.line() == "served" and client.recv(5) == b"hello"
            out = only(running.flows(), name="whoami.example.test")
            assert out["destination"] == "11.0.0.81:80" and out["rule"] == "policy.lua:1", out
            assert (out["transport"], out["direction"], out["state"], out["bytes_up"]) == ("tcp", "out", "open", 16), out
            inward = only(running.flows(), direction="in")
            assert inward["destination"] == "port 7" and inward["bytes_up"] == 5, inward
            assert inward["name"] == "127.0.0.1:%d" % client.getsockname()[1], inward
            assert inward["rule"] == f"port 127.0.0.1:{running.port}", inward
            table = [line.split() for line in running.ask("flows").splitlines()]
            assert table[0] == ["FLOW", "TRANSPORT", "NAME", "DESTINATION", "RULE", "STATE", "UP", "DOWN", "RATE"]
            row, = [row for row in table if "whoami.example.test" in row]
            assert row[:-1] == [f"{running.id}/{out['flow']}", "tcp", "whoami.example.test", "11.0.0.81:80",
                                "policy.lua:1", "open", "16", "0"], row
            running.more()
            assert poll(lambda: only(running.flows(), name="whoami.example.test")["bytes_up"] == 16 + 1010)


@test("flows --follow tells what begins, changes and ends, and ends with the sandbox")
def _(world):
    with guest(world) as running:
        following = subprocess.Popen([*world.as_user(ROOT), str(world.programs_for(ROOT) / "sandboxctl"), "flows", "-f", "--json", running.id],
                                     env=world.environment(ROOT), stdout=subprocess.PIPE, text=True)
        def next_of(name):
            while line := following.stdout.readline():
                flow = json.loads(line)
                if flow["name"] == name:
                    return flow
        assert next_of("whoami.example.test")["bytes_up"] == 16
        running.more()
        assert next_of("whoami.example.test")["bytes_up"] == 1026
    assert following.wait(patience(20)) == 0, following
    following.stdout.close()


@test("on a terminal the table is shown anew, no wider than the window")
def _(world):
    with guest(world) as running:
        ours, theirs = pty.openpty()
        following = subprocess.Popen([*world.as_user(ROOT), str(world.programs_for(ROOT) / "sandboxctl"), "flows", "-f", running.id],
                                     env=world.environment(ROOT), stdin=theirs, stdout=theirs)
        os.close(theirs)
        text = b""
        while text.count(b"\x1b[H\x1b[2J") < 3:
            text += os.read(ours, 4096)
        following.send_signal(signal.SIGTERM)
        following.wait(patience(10))
        os.close(ours)
    assert b"whoami.example.test" in text and b"11.0.0.81:80" in text, text


@test("stats for Prometheus are its format, each with help and type, and documented")
def _(world):
    with guest(world) as running:
        text = running.ask("stats", "--prometheus", running.id)
        numbers = {}
        for line in text.splitlines():
            if line.startswith("#"):
                assert re.fullmatch(r"# (HELP sallyport_[a-z_]+ .+|TYPE sallyport_[a-z_]+ (counter|gauge))", line), line
                continue
            name, labels, value = re.fullmatch(
                r'(sallyport_[a-z_]+)\{((?:[a-z]+="[^"\\\n]*",?)+)\} (\d+(?:\.\d+)?)', line).groups()
            assert f"# TYPE {name} " in text and f"# HELP {name} " in text, line
            assert f"`{name}" in DOCUMENT, f"docs/flows.md does not tell of {name}"
            assert (name.endswith("_total")) == (f"# TYPE {name} counter" in text), line
            labels = dict(re.findall(r'([a-z]+)="([^"]*)"', labels))
            assert labels.pop("sandbox") == running.id, line
            if name == "sallyport_drops_total":
                assert f"`{labels['reason']}`" in DOCUMENT, line
            numbers[name, tuple(sorted(labels.items()))] = float(value)
        for name in re.findall(r"^\| `(sallyport_[a-z_]+)", DOCUMENT, re.M):
            assert any(name == known for known, _ in numbers), f"{name} is in docs/flows.md only"
        def number(name, **labels):
            return numbers[name, tuple(sorted(labels.items()))]
        assert number("sallyport_link_up") == 1 and number("sallyport_audit_healthy") == 1
        assert number("sallyport_published_ports") == 1
        assert number("sallyport_frames_total", direction="from_guest") > 10
        assert number("sallyport_flows", transport="tcp") >= 1
        assert number("sallyport_flow_bytes_total", direction="from_guest") > 16
        assert number("sallyport_peak_resident_bytes") > 1 << 20
        assert number("sallyport_decisions_total", transport="https", direction="out", verdict="allow",
                      reason="allowed") == 1
        assert number("sallyport_decisions_total", transport="https", direction="out", verdict="deny",
                      reason="name_not_granted") == 1
        told = json.loads(running.ask("stats", "--json", running.id))
        assert told["sandbox"] == running.id, told
        same = {(n["name"], tuple(sorted(n["labels"].items()))) for n in told["numbers"]}
        assert same == set(numbers), same ^ set(numbers)
        shown = running.ask("stats", running.id)
        assert "sallyport_link_up" in shown and "reason=malformed" not in shown, shown


@test("a sandbox that is not there is told")
def _(world):
    for command in ("flows", "stats"):
        got = world.sandboxctl(command, "sp-nobody").expect(1)
        assert "no sandbox sp-nobody of yours is running" in got.errors, got
        assert world.sandboxctl(command).expect(0).text.count("\n") <= 1
    assert world.sandboxctl("stats", "--json", "--prometheus").code == 125


@test("a flood of new flows is refused with a reason, and the sandbox works again after it")
def _(world):
    running = world.start(["python3", "-c", FLOOD], POLICY)
    assert running.process.stdout.readline() == b"200\n", running.finish(b"")
    stats = json.loads(world.sandboxctl("stats", "--json").expect(0).text)
    dropped = sum(number["value"] for number in stats["numbers"]
                  if number["labels"].get("reason") in ("flow_rate", "flow_limit"))
    result = running.finish(b"\n").expect(0)
    if dropped == 0:
        assert SLOW, "60,000 flows were begun at once, and none was refused"
        return
    told = result.told(reason="limit", transport="udp", verdict="deny")
    assert told["detail"] == "more new flows in a second than a sandbox may begin", told
    assert len([r for r in result.audit if r["reason"] == "limit" and "suppressed" not in r]) < 50


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
