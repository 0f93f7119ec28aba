#!/usr/bin/env python3
"""Callbacks and rules together decide what the policy says, and the audit log tells all of it."""

import json

from harness import World, main, netns, test
from harness.origin import Origin

CURL = "curl -sS -m 20 "

FLOOD = """
import random, socket, struct, subprocess, sys, threading
stop, enough = threading.Event(), threading.Event()
asked = [0] * 3
def flood(k):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(("10.0.2.2", 53))
    s.settimeout(1)
    while not stop.is_set():
        asked[k] += 1
        if sum(asked) >= 3000: enough.set()
        labels = [f"n{asked[k]}", f"x{k}", "evil", "test"]
        question = b"".join(bytes([len(l)]) + l.encode() for l in labels) + bytes(1)
        head = struct.pack("!HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 0)
        try:
            s.send(head + question + struct.pack("!HH", 1, 1))
            s.recv(4096)
        except OSError:
            pass
threads = [threading.Thread(target=flood, args=(k,)) for k in range(3)]
for thread in threads: thread.start()
enough.wait()  # Not by looking again and again: that takes the threads their time.
for i in range(8):
    subprocess.run(["curl", "-s", "-o", "/dev/null", "-m", "20", f"http://whoami.example.test/exfil{i}"])
stop.set()
for thread in threads: thread.join()
print(sum(asked))
"""


@test("a flood of refused names hides no request")
def _(world):
    world.origin.forget()
    got = world.python(FLOOD, policy='allow.http { host = "whoami.example.test" }').expect(0)
    arrived = {r.path for r in world.origin.requests if r.path.startswith("/exfil")}
    told = {a["path"] for a in got.audit if a.get("path", "").startswith("/exfil")}
    assert len(arrived) == 8 and told == arrived, (arrived, told)
    # The flood is told by zone, and is small.
    zone = [a for a in got.audit if a.get("name") == "*.evil.test"]
    assert zone and all(a["verdict"] == "deny" and a["port"] == 53 for a in zone), zone
    refused = sum(a.get("repeat", 1) for a in got.audit if a.get("name", "").endswith(".evil.test"))
    held = sum(a["suppressed"]["deny"] for a in got.audit if "suppressed" in a)
    assert refused + held >= int(got.text) * 0.9, (refused, held, got.text)
    assert len(got.audit) < 1500, len(got.audit)


RAW = """
deny.http { host = "whoami.example.test", path = "/admin/**" }
on.request("whoami.example.test", function(req) req:deny "never" end)
secret "TOK" { from = env "TOK", hosts = "whoami.example.test" }
on.connect(function(c) c:accept() end)
"""


@test("a callback that accepts raw bytes does not go around rules, hooks and secrets")
def _(world):
    world.origin.forget()
    env = {"TOK": "a-value-that-nobody-should-see"}
    for url in ("https://whoami.example.test/admin/x", "http://whoami.example.test/other"):
        got = world.run(CURL + "-k -H 'Authorization: Bearer a-key-of-the-guests-own-0123456789' " + url,
                        policy=RAW, env=env).expect(0)
        told = json.loads(got.text)
        assert told["status"] == 403 and told["type"].endswith("policy_error"), got
        assert "conn:match_http" in told["detail"], got
        assert "policy.lua:5" in got.told(reason="policy_error")["detail"], got
    assert world.origin.requests == [], world.origin.requests
    got = world.run(CURL + "-k https://whoami.example.test:8443/raw", policy=RAW, env=env).expect(0)
    assert got.text == "hello /raw\n" and got.told(transport="tcp", verdict="allow"), got


@test("a rule that opens private addresses to some requests opens them to no others")
def _(world):
    world.dns.zone["inner.example.test"] = ["10.0.0.80"]
    world.forbidden.requests.clear()
    policy = """
allow.http { host = "inner.example.test", path = "/whoami", method = "GET", resolves_to = "private" }
allow.http { host = any }
"""
    got = world.run(CURL + "http://inner.example.test/whoami", policy=policy).expect(0)
    assert '"method": "GET"' in got.text, got
    got = world.run(CURL + "-X POST http://inner.example.test/whoami", policy=policy).expect(0)
    told = json.loads(got.text)
    assert told["status"] == 403 and told["type"].endswith("address_refused"), got
    assert "10.0.0.80 (private)" in told["detail"], got
    assert [r.method for r in world.forbidden.requests] == ["GET"], world.forbidden.requests


@test("an error of on.connect while a name is looked up is told to the guest and in the log")
def _(world):
    policy = "on.connect(function(c)\n  local nothing = nil; nothing.at_all()\nend)"
    got = world.run(CURL + "https://whoami.example.test/", policy=policy).expect(0)
    told = json.loads(got.text)
    assert told["type"].endswith("policy_error") and "policy.lua:2" in told["detail"], got
    assert "policy.lua:2" in got.told(transport="dns", reason="policy_error")["detail"], got
    policy = "on.connect(function(c) if c.dst:is_public() then c:accept() end end)"
    got = world.run(CURL + "https://whoami.example.test/", policy=policy).expect(0)
    assert "conn:match_tcp" in json.loads(got.text)["detail"], got


@test("a name that a deny leaves nothing of is refused with the rule and its reason")
def _(world):
    policy = ('deny.http { host = "evil.example.test", reason = "known to be evil" }\n'
              "allow.http { host = any }\n")
    for options in ("", "-x http://10.0.2.2:3128 "):
        got = world.run(CURL + options + "http://evil.example.test/", policy=policy).expect(0)
        told = json.loads(got.text)
        assert told["type"].endswith("denied_by_rule") and told["rule"] == "policy.lua:1", got
        assert "known to be evil" in told["detail"] and "how_to_allow" not in told, got
        assert got.told(reason="denied_by_rule", transport="http")["rule"] == "policy.lua:1", got
    got = world.run("getent hosts evil.example.test", policy=policy)
    assert "known to be evil" in got.told(transport="dns", name="evil.example.test")["detail"], got


@test("a request to another port is told to ask for allow.http with the port")
def _(world):
    policy = 'allow.http { host = "whoami.example.test" }'
    got = world.run(CURL + "-p -x http://10.0.2.2:3128 -w '%{http_connect}' "
                    "https://whoami.example.test:8443/", policy=policy)
    record = got.told(reason="not_granted")
    assert record["how_to_allow"] == 'allow.http { host = "whoami.example.test", port = 8443 }', got


@test("an address of the host itself is reached only by a rule that names it")
def _(world):
    own = Origin([(netns.HOST_V4, 80), (netns.HOST_V6, 80)])
    world.dns.zone["own.example.test"] = [netns.HOST_V4]
    world.dns.zone["own6.example.test"] = [netns.HOST_V6]
    try:
        policy = 'allow.http { host = any }\nallow.tcp { ip = { "public", "11.0.0.0/8" } }'
        for name, address in (("own", netns.HOST_V4), ("own6", netns.HOST_V6)):
            got = world.run(CURL + f"http://{name}.example.test/x", policy=policy).expect(0)
            told = json.loads(got.text)
            assert told["type"].endswith("address_refused"), got
            assert f"{address} (of this host itself)" in told["detail"], got
        got = world.run(CURL + f"http://{netns.HOST_V4}/x", policy=policy)
        assert got.code == 7 and got.told(reason="address_refused", transport="tcp"), got
        got = world.run(CURL + f"http://{netns.HOST_V4}/x",
                        policy="on.connect(function(c) c:accept() end)")
        assert got.code == 7 and got.told(reason="address_refused", transport="tcp"), got
        assert own.connections == 0, own.requests
        got = world.run(CURL + f"http://{netns.HOST_V4}/named",
                        policy=f'allow.tcp {{ ip = "{netns.HOST_V4}", port = 80 }}').expect(0)
        assert got.text == "hello /named\n", got
        got = world.run(CURL + "http://own.example.test/to", policy='allow.http { host = '
                        f'"own.example.test", to = "{netns.HOST_V4}:80" }}').expect(0)
        assert got.text == "hello /to\n", got
    finally:
        own.close()


if __name__ == "__main__":
    main(World)
