#!/usr/bin/env python3
"""`run --learn` opens a sandbox and writes rules; under them the same programs work, and no others."""

import os
import pathlib
import subprocess

from harness import World, main, test

# Real clients, which fail by their exit code: curl, git, Python. One speaks to another port.
JOB = r"""
set -e
cd /tmp
curl -sSf -o /dev/null https://api.example.test/small.txt
curl -sS -o /dev/null -X POST -d x https://whoami.example.test/items/41
curl -sS -o /dev/null https://whoami.example.test/items/42
python3 - <<'PY'
import urllib.request
for number in (1, 2):
    urllib.request.urlopen(f"https://whoami.example.test/items/{number}").read()
PY
GIT_TERMINAL_PROMPT=0 git clone -q https://git.example.test/one.git cloned
python3 - <<'PY'
import socket
socket.create_connection(("whoami.example.test", 8443)).close()
socket.getaddrinfo("static.example.test", None, socket.AF_INET)
PY
echo done
"""
# Nothing of this may pass, whether the sandbox learns or not.
CLOSED = r"""
curl -s -o /dev/null -w "%{http_code} " --max-time 10 http://10.0.0.80:8000/ || echo -n "refused "
curl -s -o /dev/null -w "%{http_code} " --max-time 10 http://169.254.169.254/ || echo -n "refused "
curl -s -o /dev/null -w "%{http_code} " --max-time 10 -k https://11.0.0.81/ || echo -n "refused "
curl -s -o /dev/null -w "%{http_code} " http://private.example.test/
curl -s -o /dev/null -w "%{http_code} " https://denied.example.test/
curl -s -o /dev/null -w "%{http_code}" https://api.example.test/keep/out
"""
DENIES = """
deny.dns { host = "denied.example.test" }
deny.http { host = "api.example.test", path = "/keep/**", reason = "closed" }
"""


def serve(world):
    """A file, and a repository of plain files at git.example.test/one.git."""
    (pathlib.Path(world.nginx.root) / "small.txt").write_text("small\n")
    work, bare = world.folder / "work", pathlib.Path(world.nginx.root) / "one.git"
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "t"), ("EMAIL", "t@example.test"))}

    def git(*arguments, cwd=None):
        subprocess.run(["git", "-c", "init.defaultBranch=main", *arguments], cwd=cwd, check=True,
                       env={**os.environ, **who}, capture_output=True)

    git("init", str(work))
    (work / "file").write_text("content\n")
    git("add", "file", cwd=work)
    git("commit", "-m", "one", cwd=work)
    git("clone", "--bare", str(work), str(bare))
    git("update-server-info", cwd=bare)


def learn(world, command, policy=None, name="learnt.lua", **more):
    """Runs COMMAND in a sandbox that learns; its result, and the file."""
    file = world.folder_for(0) / name
    got = world.run(command, policy=policy, options=("--learn", str(file)), timeout=120, **more)
    return got, file


@test("what a run did is learnt, passes under the learnt rules, and another host is refused")
def _(world):
    serve(world)
    got, file = learn(world, JOB)
    got.expect(0)
    assert got.text.endswith("done\n"), got
    assert "LEARNING: this sandbox is OPEN" in got.errors, got
    assert f"{file} has rules for " in got.errors, got
    rules = file.read_text()
    for rule in ('allow.http { host = "whoami.example.test", method = { "GET", "POST" }, path = "/items/*" }',
                 '-- rare: 1 request\nallow.http { host = "api.example.test", method = "GET", path = "/small.txt" }',
                 'allow.tcp { host = "whoami.example.test", port = 8443 }',
                 'allow.dns { host = "static.example.test" }'):
        assert rule in rules, f"{rule}\nis missing of\n{rules}\n{got}"
    assert "/one.git/" in rules and '"*' not in rules, rules
    learnt = [r for r in got.audit if r.get("learnt")]
    assert learnt and all(r["rule"] == "--learn" and r["verdict"] == "allow" for r in learnt), got
    assert got.told(transport="control", method="learn"), got

    check = world.sandboxctl("policy", "check", str(file))
    assert check.code == 0 and check.text == f"{file}: the policy is valid\n", check
    same = world.sandboxctl("policy", "test", "--policy", str(file), "--audit", str(got.audit_path))
    assert same.code == 0 and " 0 different" in same.text, same

    world.origin.forget()
    again = world.run(JOB, options=("-f", str(file)), timeout=120).expect(0)
    assert not any(r.get("learnt") for r in again.audit), again
    other = world.run('curl -s -o /dev/null -w "%{http_code} " https://second.example.test/; '
                      'curl -s -o /dev/null -w "%{http_code}" -X DELETE https://whoami.example.test/items/1',
                      options=("-f", str(file))).expect(0)
    assert other.text == "403 403", other
    assert all("DELETE" != r.method for r in world.origin.requests), world.origin.requests


@test("a run that learns beyond a policy from a pipe, which can't be read again, writes its rules")
def _(world):
    file = world.folder_for(0) / "piped.lua"
    got = world.run("curl -s https://api.example.test/small; curl -s https://other.example.test/y",
                    options=("--learn", str(file), "--policy", "/dev/stdin"),
                    stdin=b'allow.http { host = "api.example.test" }\n').expect(0)
    rules = file.read_text()
    assert 'host = "other.example.test"' in rules and "api.example.test" not in rules, (rules, got)


@test("learning opens no special address, and no rule's refusal")
def _(world):
    world.dns.zone["private.example.test"] = ["10.0.0.80"]
    world.dns.zone["denied.example.test"] = ["11.0.0.81"]
    world.forbidden.forget()
    got, file = learn(world, CLOSED, policy=DENIES)
    assert got.expect(0).text == "000 refused 000 refused 000 refused 403 403 403", got
    assert world.forbidden.requests == [], world.forbidden.requests
    rules = file.read_text()
    for absent in ("10.0.0.80", "169.254", "11.0.0.81", "denied.example.test", "allow.http"):
        assert absent not in rules, (absent, rules)
    got.told(name="private.example.test", reason="address_refused", verdict="deny")
    got.told(name="denied.example.test", reason="denied_by_rule", verdict="deny")
    got.told(path="/keep/out", reason="denied_by_rule", verdict="deny")


@test("a secret goes to its own hosts alone while learning, and is declared by no learnt rule")
def _(world):
    policy = 'secret "TOKEN" { from = env "TOKEN", hosts = { "whoami.example.test" } }\n'
    value = "tok_R3alValueThatNobodyInsideHas0123"
    world.origin.forget()
    got, file = learn(world, 'for host in whoami other; do curl -s -o /dev/null -w "%{http_code} " '
                      '-H "Authorization: Bearer $TOKEN" https://$host.example.test/x; done\n'
                      'curl -s -o /dev/null -w "%{http_code}" -H "Authorization: Bearer of-my-own" '
                      'https://whoami.example.test/y', policy=policy, env={"TOKEN": value})
    assert got.expect(0).text.split()[1:] == ["403", "403"], got
    sent = world.origin.received()
    assert value.encode() in sent and sent.count(b"GET /x") == 1 and b"of-my-own" not in sent, sent
    rules = file.read_text()
    assert "-- with TOKEN\n" in rules and "secret " not in rules and value not in rules, rules
    assert "other.example.test" not in rules.replace('allow.dns { host = "other.example.test" }', ""), rules
    both = file.with_name("both.lua")
    both.write_text(policy + rules)
    assert world.sandboxctl("policy", "check", str(both)).code == 0
    world.run('curl -sf -H "Authorization: Bearer $TOKEN" https://whoami.example.test/x',
              options=("-f", str(both)), env={"TOKEN": value}).expect(0)


@test("names without an answer get no rule; what a policy allows is not written again")
def _(world):
    policy = 'allow.http { host = "api.example.test" }\n'
    got, file = learn(world, 'curl -s https://none.example.test/; curl -sf https://api.example.test/small.txt >/dev/null; '
                      'curl -s -o /dev/null https://whoami.example.test/one', policy=policy)
    rules = got.expect(0) and file.read_text()
    assert "none.example.test" not in rules and "api.example.test" not in rules, rules
    assert "What policy.lua allows is not repeated" in rules, rules
    whole = world.sandboxctl("policy", "learn", str(got.audit_path))
    assert whole.code == 0 and 'host = "api.example.test"' in whole.text, whole
    over = pathlib.Path(got.argv[got.argv.index("-f") + 1])
    rest = world.sandboxctl("policy", "learn", str(got.audit_path), "--over", str(over))
    assert rest.code == 0 and rest.text == rules, (rest, rules)
    written = file.with_name("again.lua")
    for _ in range(2):  # The second replaces what was learnt.
        made = world.sandboxctl("policy", "learn", str(got.audit_path), "-o", str(written))
        assert made.code == 0 and written.read_text() == whole.text, made


@test("what somebody wrote is not replaced, and nothing runs without a place for the rules")
def _(world):
    folder = world.folder_for(0)
    mine = folder / "mine.lua"
    mine.write_text("allow.http { host = 'api.example.test' }\n")
    for file, why in ((mine, "was not learnt"), (folder / "none" / "x.lua", "No such file")):
        got = world.run("echo ran", options=("--learn", str(file)))
        assert got.code == 125 and why in got.errors and got.text == "", got
    assert mine.read_text().startswith("allow.http")
    missing = world.sandboxctl("policy", "learn", str(folder / "no.jsonl"))
    assert missing.code == 2 and "no.jsonl" in missing.errors, missing


@test("every line of these logs is as docs/audit.schema.json says")
def _(world):
    assert world.audit_violations() == []


main(World)
