#!/usr/bin/env python3
"""What a policy asks the user: questions that flows and requests wait for; callbacks that wait, and see answers."""

import json
import os
import pty
import select
import signal
import subprocess
import time

from harness import ROOT, World, main, patience, test
from harness.sandbox import poll

ASK = """
ask.http { host = "whoami.example.test", path = "/pay/**", message = "pay?", wait = "2s" }
allow.http { host = "whoami.example.test" }
"""
LONG = ASK.replace('"2s"', '"60s"')


def control(world, *arguments, code=0):
    done = subprocess.run([*world.as_user(ROOT), str(world.programs_for(ROOT) / "sandboxctl"), *arguments], env=world.environment(ROOT),
                          cwd="/", text=True, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def questions(world):
    return [line.split(maxsplit=5) for line in control(world, "approvals").splitlines()[1:]]


def only_question(world):
    poll(lambda: questions(world), 20)
    [question] = questions(world)
    return question


def fetch(path, options=""):
    return ["curl", "-sS", "-w", " %{http_code}", *options.split(), f"https://whoami.example.test{path}"]


@test("a request waits for the user's yes, and goes on with it")
def _(world):
    world.origin.forget()
    running = world.start(fetch("/pay/1", "-d amount=9"), LONG)
    sandbox, number, waiting, _, rule, what = only_question(world)
    assert waiting == "1" and rule == "policy.lua:2", (waiting, rule)
    assert what == "POST https://whoami.example.test/pay/1, 8 bytes", what
    assert world.origin.requests == []
    assert "allowed: POST" in control(world, "approve", sandbox, number)
    result = running.finish()
    result.expect(0)
    assert result.out.endswith(b" 200"), result
    assert len(world.origin.requests) == 1
    [asked] = [record for record in result.audit if record.get("path") == "/pay/1" and record.get("status")]
    assert asked["detail"] == "approved by the user", asked
    assert any(record.get("method") == "approve once" for record in result.audit), result.audit


@test("a request that the user refuses is told so, and nothing goes upstream")
def _(world):
    world.origin.forget()
    running = world.start(fetch("/pay/1"), LONG)
    sandbox, number, *_ = only_question(world)
    control(world, "deny", sandbox, number)
    result = running.finish()
    assert result.out.endswith(b" 403") and b"approval_denied" in result.out, result
    assert world.origin.requests == []


@test("without an answer the guest is told to try later, and a later yes counts for its next try")
def _(world):
    world.origin.forget()
    script = 'curl -sS "$1" | tr -d "\\n"; echo; read -r go; curl -sS -o /dev/null -w "%{http_code}" "$1"; echo; ' \
             'curl -sS -o /dev/null -w "%{http_code}" "$1"'
    running = world.start(["sh", "-c", script, "sh", "https://whoami.example.test/pay/2"], ASK)
    first = running.process.stdout.readline()
    told = json.loads(first)
    assert told["status"] == 403 and told["type"].endswith("approval_pending"), told
    assert told["how_to_allow"] == "sandboxctl approvals", told
    sandbox, number, waiting, *_ = only_question(world)
    assert waiting == "0", waiting
    control(world, "approve", sandbox, number)
    result = running.finish(b"go\n")
    assert result.out.split() == [b"200", b"403"], result  # The third is asked about again.


@test("a yes for the session needs no other, and can become a rule of the policy")
def _(world):
    world.origin.forget()
    kept = world.folder / "kept.lua"
    kept.write_text(LONG)
    script = 'for i in 1 2 3; do curl -sS -o /dev/null -w "%{http_code}\\n" "$1"; done'
    running = world.start(["sh", "-c", script, "sh", "https://whoami.example.test/pay/3"], LONG)
    sandbox, number, *_ = only_question(world)
    out = control(world, "approve", sandbox, number, "--always", str(kept))
    result = running.finish()
    assert result.out.split() == [b"200"] * 3, result
    assert "kept.lua:" in out, out
    assert 'allow.http { host = "whoami.example.test", port = 443, method = "GET", path = "/pay/3" }' in kept.read_text()
    control(world, "policy", "check", str(kept))


@test("a rule is not written where a sandbox could change it, and the question stays")
def _(world):
    shared = world.folder / "shared"
    shared.mkdir(exist_ok=True)
    kept = shared / "kept.lua"
    kept.write_text(LONG)
    link = world.folder / "link.lua"
    link.symlink_to(kept)
    running = world.start(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "https://whoami.example.test/pay/9"],
                          LONG, options=["-v", f"{shared}:/shared"])
    sandbox, number, *_ = only_question(world)
    for file in (kept, link, shared / "new.lua"):
        refused = world.sandboxctl("approve", sandbox, number, "--always", str(file))
        assert refused.code != 0 and "the sandbox could" in refused.errors, refused
        learnt = world.sandboxctl("policy", "learn", str(world.folder / "none.jsonl"), "-o", str(file))
        assert learnt.code != 0 and "the sandbox could" in learnt.errors, learnt
    assert kept.read_text() == LONG
    control(world, "approve", sandbox, number)
    assert running.finish().out == b"200"


@test("a connection waits for the user, too")
def _(world):
    policy = 'ask.tcp { host = "whoami.example.test", port = 8443, wait = "60s" }'
    client = "import socket; s = socket.create_connection(('whoami.example.test', 8443), 50); print('connected')"
    for answer, expected in (("approve", 0), ("deny", 1)):
        running = world.start(["python3", "-c", client], policy)
        sandbox, number, _, _, _, what = only_question(world)
        assert what == "tcp to whoami.example.test:8443", what
        control(world, answer, sandbox, number)
        result = running.finish()
        result.expect(expected)
        reasons = {record["reason"] for record in result.audit if record.get("transport") == "tcp"}
        assert reasons == ({"allowed"} if expected == 0 else {"approval_denied"}), result.audit


class Watching:
    """sandboxctl approvals --watch on a terminal."""

    def __init__(self, world):
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen([*world.as_user(ROOT), str(world.programs_for(ROOT) / "sandboxctl"), "approvals", "--watch"],
                                        env=world.environment(ROOT), stdin=theirs, stdout=theirs)
        os.close(theirs)

    def until(self, wanted):
        seen, deadline = b"", time.monotonic() + patience(30)
        while wanted not in seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (wanted, seen)
            seen += os.read(self.fd, 4096)

    def press(self, keys):
        os.write(self.fd, keys)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(patience(10))
        os.close(self.fd)


@test("keys that were pressed before a question is shown are no answer to it")
def _(world):
    world.origin.forget()
    first = world.start(fetch("/pay/first"), LONG)
    watching = Watching(world)
    try:
        watching.until(b"[l]ater? ")
        watching.press(b"o\no\n")
        watching.until(b"allowed: ")
        first.finish().expect(0)
        second = world.start(fetch("/pay/second"), LONG)
        watching.until(b"[l]ater? ")
        watching.press(b"d\n")
        watching.until(b"denied: ")
        result = second.finish()
    finally:
        watching.end()
    assert result.out.endswith(b" 403") and b"approval_denied" in result.out, result
    assert len(world.origin.requests) == 1, world.origin.requests


@test("an answer to a question that is not there is an error, and another user's sandbox is not seen")
def _(world):
    running = world.start(fetch("/pay/4"), LONG)
    sandbox, number, *_ = only_question(world)
    assert "no open question 99" in control(world, "approve", sandbox, "99", code=1)
    control(world, "deny", sandbox, number)
    running.finish()
    assert questions(world) == []
    assert "no sandbox" in control(world, "approve", "sp-none", "1", code=1)


@test("a callback sleeps, remembers, reads a body and changes it, and other flows go on meanwhile")
def _(world):
    world.origin.forget()
    policy = """
allow.http { host = { "whoami.example.test", "second.example.test" } }
on.request("whoami.example.test", function(req)
  if req.path == "/slow" then
    while not store.get "go" do sleep "500ms" end
  end
  if req.path == "/go" then store.set("go", true) end
  local body = req:body(1000)
  if body == "old" then req.body = "new " .. store.incr "count" end
end)
"""
    script = """
curl -sS -o /dev/null https://whoami.example.test/slow & slow=$!
sleep 0.3
curl -sS -o /dev/null -w '%{http_code} ' https://second.example.test/
kill -0 $slow && echo meanwhile
curl -sS -o /dev/null -d old https://whoami.example.test/a
curl -sS -o /dev/null -d old https://whoami.example.test/b
curl -sS -o /dev/null -d kept https://whoami.example.test/c
curl -sS -o /dev/null https://whoami.example.test/go
wait $slow
"""
    result = world.run(["sh", "-c", script], policy)
    result.expect(0)
    assert result.out == b"200 meanwhile\n", result
    bodies = {request.path: request.body for request in world.origin.requests}
    assert bodies["/a"] == b"new 1" and bodies["/b"] == b"new 2" and bodies["/c"] == b"kept", bodies
    assert list(bodies).index("/slow") > list(bodies).index("/c"), bodies


@test("a callback sees answers without the secret, changes them, and refuses one")
def _(world):
    policy = '''
allow.http { host = "whoami.example.test" }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
on.response("whoami.example.test", function(res)
  res.headers["x-seen"] = "status " .. res.status
  if res.request.path == "/echo" then
    local body = res:body(1000)
    if body == "hide" then return res:deny "not for the guest" end
    assert(not body:find("TheRealValue", 1, true))
    res.body = body:upper()
  end
end)
'''
    script = '''
curl -sS -D - -o /dev/null https://whoami.example.test/ | grep -i x-seen
curl -sS -d quiet https://whoami.example.test/echo; echo
curl -sS -o /dev/null -w '%{http_code}\\n' -d hide https://whoami.example.test/echo
curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/whoami | grep -c "$API_TOKEN"
'''
    result = world.run(["sh", "-c", script], policy, env={"API_TOKEN": "ghp_TheRealValue000000000000000000000001"})
    result.expect(0)
    assert result.text.split("\n")[:4] == ["x-seen: status 200\r", "QUIET", "403", "1"], result


@test("a callback asks a server of its own, with a secret that the guest does not have")
def _(world):
    world.origin.forget()
    policy = '''
allow.http { host = "whoami.example.test" }
local key = secret "HOOK_KEY" { from = env "HOOK_KEY", hosts = { "second.example.test" }, expose = false }
on.request("whoami.example.test", function(req)
  local res, why = fetch { url = "https://second.example.test/status/" .. (req.query or "200"),
                           headers = { authorization = "Bearer " .. key } }
  if not res then return req:deny("no answer: " .. why) end
  if res.status ~= 200 then return req:deny("the hook says " .. res.status) end
end)
'''
    script = 'for q in "$@"; do curl -sS -o /dev/null -w "%{http_code}\\n" "https://whoami.example.test/$q"; done'
    result = world.run(["sh", "-c", script, "sh", "", "?418"], policy, env={"HOOK_KEY": "TheHooksOwnKey0000000000001"})
    result.expect(0)
    assert result.out.split() == [b"200", b"403"], result
    hooked = [request for request in world.origin.requests if request.path.startswith("/status/")]
    assert [request.get("authorization") for request in hooked] == ["Bearer TheHooksOwnKey0000000000001"] * 2, hooked
    fetched = [record for record in result.audit if record.get("path") == "/status/200"]
    assert [(record["rule"], record["secrets"]) for record in fetched] == [("policy.lua:5", ["HOOK_KEY"])], fetched


if __name__ == "__main__":
    main(World)
