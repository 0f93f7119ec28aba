#!/usr/bin/env python3
"""`audit` and `why` read the log back; a log that is full is renamed under a running sandbox."""

import json
import os
import pathlib
import signal
import subprocess

from harness import ROOT, World, main, test
from harness.sandbox import poll

POLICY = """
allow.http { host = "api.example.test", method = "GET", path = "/small*", otherwise = "small things only" }
"""
FULL = 64 << 20


@test("audit shows what was allowed and refused, filtered, for people and as it stands in the log")
def _(world):
    got = world.run("curl -s https://api.example.test/small.txt; curl -s https://api.example.test/large;"
                    " curl -s http://evil.example.com/", policy=POLICY)
    log = str(got.audit_path)
    lines = got.audit_path.read_text().splitlines()
    assert world.sandboxctl("audit", "--audit", log, "--json").text.splitlines() == lines
    denied = world.sandboxctl("audit", "--audit", log, "--filter", "verdict=deny", "--filter", "transport=https")
    assert denied.code == 0 and denied.text.count("\n") == 1, denied
    assert "DENY   https GET https://api.example.test/large -> 403  denied_by_rule  by policy.lua:2" in denied.text, denied
    assert world.sandboxctl("audit", "--audit", log, "--sandbox", "sp-none").text == ""
    wrong = world.sandboxctl("audit", "--audit", log, "--filter", "verdit=deny")
    assert wrong.code == 1 and "key=value" in wrong.errors and "host, secret, since, until" in wrong.errors, wrong

    def shown(*filters):
        arguments = [word for text in filters for word in ("--filter", text)]
        return world.sandboxctl("audit", "--audit", log, "--json", *arguments).expect(0).text.splitlines()

    assert {json.loads(line)["name"] for line in shown("host=*.example.com", "verdict=deny")} == {"evil.example.com"}
    assert shown("since=1h") == lines and shown("until=1h") == [] and shown("since=1h", "until=2026-01-01") == []
    assert shown("secret=NONE") == [] and shown("reason=denied_by_rule", "rule=policy.lua:2")


@test("why says again what the guest was told, with the rule's own line")
def _(world):
    got = world.run("curl -s https://api.example.test/large", policy=POLICY)
    told = got.json()
    file = got.argv[got.argv.index("-f") + 1]
    flow = got.told(reason="denied_by_rule")["flow"]
    why = world.sandboxctl("why", str(flow), "--audit", str(got.audit_path), "--policy", file)
    assert why.code == 0, why
    assert told["detail"] in why.text and told["rule"] in why.text, (why, told)
    assert "  | allow.http { host" in why.text and " 403 " in why.text.replace("->", " "), why
    none = world.sandboxctl("why", "9999", "--audit", str(got.audit_path))
    assert none.code == 1 and "nothing was refused on flow 9999" in none.errors, none
    other = world.run("curl -s https://api.example.com/x", policy=POLICY)
    record = other.told(reason="name_not_granted", transport="https")
    why = world.sandboxctl("why", f"{record['sandbox']}/{record['flow']}", "--audit", str(other.audit_path))
    assert 'to allow it, add:\n  allow.http { host = "api.example.com" }' in why.text, why


LOGS = """
log.info "loaded"
allow.http { host = "api.example.test" }
on.request("api.example.test", function(req)
  log.warn { path = req.path, agent = req.headers["user-agent"] }
end)
"""


@test("what a policy logs has lines of its own, with place and flow; a guest that causes it fills no disk")
def _(world):
    got = world.run(r"""curl -s -o /dev/null -A "$(printf 'a\302\2332J"}')" https://api.example.test/one
        curl -s -o /dev/null 'https://api.example.test/[1-200]'""", policy=LOGS)
    loaded = got.told(level="info", message="loaded", place="policy.lua:2")
    assert "flow" not in loaded and "verdict" not in loaded and "reason" not in loaded, loaded
    said = next(r for r in got.audit if r.get("level") == "warn")
    request = got.told(path="/one", transport="https")
    assert said["place"] == "policy.lua:5" and said["flow"] == request["flow"], (said, request)
    assert 'path="/one"' in said["message"] and b"\xc2\x9b" not in got.audit_path.read_bytes(), said
    lines = [r for r in got.audit if r.get("level") == "warn"]
    held = sum(r["suppressed"].get("messages", 0) for r in got.audit if "suppressed" in r)
    assert len(lines) + held == 201 and len(lines) <= 20 * (got.seconds + 2), (len(lines), held, got)
    shown = world.sandboxctl("audit", "--audit", str(got.audit_path), "--filter", "level=info")
    assert shown.code == 0 and shown.text.endswith("  info  policy.lua:2: loaded\n"), shown


@test("a log that is full is renamed under a running sandbox, which goes on in the new one; --follow sees all")
def _(world):
    folder = world.folder_for(ROOT)
    log = folder / "audit.jsonl"
    running = world.start(["sh", "-c", 'while read -r path; do curl -s -o /dev/null -w "%{http_code}\\n" '
                           'https://api.example.test/$path; done'], POLICY, audit=log)

    def ask(path):
        running.process.stdin.write(path.encode() + b"\n")
        running.process.stdin.flush()
        return running.process.stdout.readline().decode().strip()

    assert ask("before") == "403"
    argv = [str(world.programs_for(ROOT) / "sandboxctl"), "audit", "--audit", str(log), "--follow",
            "--filter", "transport=https", "--json"]
    follow = subprocess.Popen(argv, env=world.environment(ROOT), stdout=subprocess.PIPE, cwd="/")
    try:
        assert json.loads(follow.stdout.readline())["path"] == "/before"
        # As if 64 MiB had been written: a hole, which ends in a newline.
        with open(log, "ab") as file:
            file.truncate(FULL)
            file.write(b"\n")
        renamed = pathlib.Path(f"{log}.1")
        assert poll(renamed.exists, 15), "the log was not renamed"
        assert poll(lambda: ask("after") == "403" and "/after" in log.read_text(), 15)
        assert '"/before"' in renamed.read_bytes()[:100_000].decode("utf-8", "ignore")
        while json.loads(follow.stdout.readline())["path"] != "/after":
            pass
    finally:
        follow.send_signal(signal.SIGTERM)
        follow.stdout.close()
        follow.wait()
        running.finish()
    assert os.stat(log).st_size < 1 << 20


@test("a log beside what a sandbox is shown is not renamed")
def _(world):
    folder = world.folder_for(ROOT)
    log = folder / "audit.jsonl"
    with open(log, "wb") as file:
        file.truncate(FULL)
        file.write(b"\n")
    got = world.run("true", policy=POLICY, options=["-v", f"{folder}:/shared:ro"], audit=log)
    assert got.code == 0 and not pathlib.Path(f"{log}.1").exists(), got.code
    log.unlink()


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
