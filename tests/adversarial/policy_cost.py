#!/usr/bin/env python3
"""A policy's callbacks are steered by what the guest sends: each has a budget, and past it the answer is no."""

import json

from harness import World, main, patience, test

ALLOW = """
allow.http { host = { "whoami.example.test", "other.example.test" } }
"""
# Prints the page, the status and the seconds on one line.
FETCH = "fetch() { curl -sS -m 30 -w ' %{http_code} %{time_total}' \"$@\" | tr -d '\\n'; echo; }; "

# What a callback does; each is a denial by policy_error and never more than a short wait.
BUSY = {
    "runs forever": "while true do end",
    "runs forever in a protected call": "while true do pcall(function() while true do end end) end",
    "takes memory": 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end',
    "takes memory in one call": 'local s = ("x"):rep(1 << 34)',
    "backtracks on the path": '(("a"):rep(300) .. "b"):find((".-"):rep(12) .. "c")',
    "backtracks on what the guest sent": 'local n = (req.headers["x-long"] or ""):find((".-"):rep(20) .. "!!")'
                                         ' while not n do n = ("a"):rep(500):find((".-"):rep(20) .. "!!") end',
    "moves a table without end": "table.move({}, 1, 1 << 60, 2)",
    "joins without end": 'table.concat({}, "", 1, 1 << 60)',
    "sorts with a lying order": "local t = {} for i = 1, 100000 do t[i] = i % 7 end "
                                "table.sort(t, function() return true end) while true do end",
    "recurses": "local function f() return 1 + f() end f()",
    "raises": 'error("boom")',
    "raises a table": "error({})",
    "raises nothing": "error()",
    "indexes nothing": "local x = nil; return x.y",
    "calls what is not there": "local nothing = nil; nothing()",
    "loads code": '_G["lo" .. "ad"]("return 1")()',
    "writes a line into a header": 'req.headers["x-a"] = "b\\r\\nx-injected: 1"',
    "writes a line into a header's name": 'req.headers["x-a\\r\\nx-injected"] = "1"',
    "changes the host": 'req.headers.host = "other.example.test"',
    "changes the length": 'req.headers["content-length"] = "3"',
    "changes the coding": 'req.headers["transfer-encoding"] = "chunked"',
}


def register(what, body):
    @test(f"a hook that {what} denies its request, and only that")
    def _(world):
        world.origin.forget()
        policy = ALLOW + f'on.request("whoami.example.test", function(req) {body} end)\n'
        got = world.run(FETCH + "fetch -H 'X-Long: " + "a" * 300 + "' https://whoami.example.test/x; "
                        "fetch https://other.example.test/y", policy=policy).expect(0)
        denied, granted = got.text.splitlines()
        assert "policy_error" in denied and denied.split()[-2] in ("403", "500"), got
        assert float(denied.split()[-1]) < patience(3), got
        assert granted.startswith("hello /y 200 "), got
        assert [r.path for r in world.origin.requests] == ["/y"], got
        record = got.told(reason="policy_error", name="whoami.example.test")
        assert record["verdict"] == "deny"


for name, code in BUSY.items():
    register(name, code)


@test("work that is nothing in itself, told to repeat without end, costs nothing")
def _(world):
    policy = ALLOW + """
on.request("whoami.example.test", function(req) local s = (""):rep(1 << 62) end)
"""
    got = world.run("curl -sS -m 20 https://whoami.example.test/x", policy=policy).expect(0)
    assert "hello" in got.text or "policy_error" in got.text, got
    assert got.seconds < patience(5), got


@test("a callback that decides flows and fails grants nothing")
def _(world):
    world.origin.forget()
    for body in ('error("boom")', "while true do end", "return true", "conn = nil", "conn:accept(1, 2, 3)"):
        policy = f"on.connect(function(conn) {body} end)\n"
        got = world.run("curl -sS -m 20 http://whoami.example.test/x; curl -sS -m 20 http://11.0.0.81/x; true",
                        policy=policy).expect(0)
        assert "hello" not in got.text, (body, got)
        assert got.seconds < patience(10), (body, got)
    assert world.origin.requests == []


@test("a secret's handle is its placeholder wherever a callback can look")
def _(world):
    world.origin.forget()
    value = "callback-value-0123456789"
    policy = """
allow.http { host = { "whoami.example.test", "other.example.test" } }
local token = secret "TOKEN" { from = env "TOKEN", hosts = { "whoami.example.test" } }
on.request("other.example.test", function(req)
  req.headers["x-seen"] = tostring(token) .. "|" .. ("%s"):format(token) .. "|" .. (token .. "")
end)
on.request("whoami.example.test", function(req) req.headers.authorization = "Bearer " .. token end)
"""
    got = world.run("curl -sS https://other.example.test/a; curl -sS https://whoami.example.test/b; "
                    "printf %s \"$TOKEN\"", policy=policy, env={"TOKEN": value}).expect(0)
    seen = {r.path: r for r in world.origin.requests}
    assert value not in str(seen["/a"].fields) if "/a" in seen else True, got
    assert seen["/b"].get("authorization") == f"Bearer {value}", got


@test("a callback's state can't grow without end over many requests")
def _(world):
    policy = ALLOW + """
local kept = {}
on.request("whoami.example.test", function(req) kept[#kept + 1] = req.path .. ("k"):rep(100000) end)
"""
    got = world.python("""
import http.client, json
statuses = []
c = http.client.HTTPSConnection("whoami.example.test", timeout=30)
for i in range(400):
    try:
        c.request("GET", f"/{i}"); r = c.getresponse(); r.read(); statuses.append(r.status)
    except (OSError, http.client.HTTPException):
        c.close(); statuses.append(0)
print(json.dumps(statuses))
""", policy=policy, timeout=180).expect(0)
    statuses = json.loads(got.out)
    assert statuses[0] == 200 and statuses[-1] == 403, got
    assert got.told(reason="policy_error")


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
