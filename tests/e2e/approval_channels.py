#!/usr/bin/env python3
"""Questions of a policy that a webhook and a command answer: a real HTTPS server with a private CA, and
real programs."""

import hashlib
import hmac
import json
import os
import select
import time

from harness import PLAIN, ROOT, World, main, netns, test
from harness.hook import Hook
from harness.sandbox import descendants, poll

ALLOW = b'{"decision":"allow","scope":"once"}'
DENY = b'{"decision":"deny"}'


def policy(channels, wait="20s", more=""):
    return f"""
sandbox {{ approvals = {{ {channels} }} }}
ask.http {{ host = "whoami.example.test", path = "/pay/**", message = "pay?", wait = "{wait}" {more} }}
allow.http {{ host = "whoami.example.test" }}
"""


def fetch(path, *options):
    return ["curl", "-sS", "-w", " %{http_code}", *options, f"https://whoami.example.test{path}"]


class AtHook(Hook):
    """The webhook at https://hook.example.test."""

    def __init__(self, world, answer):
        if "hook.example.test" not in world.dns.zone:
            world.hook_certificate = world.ca.issue("hook", ["hook.example.test"])
            world.dns.zone["hook.example.test"] = ["11.0.0.81"]
        super().__init__("11.0.0.81", world.hook_certificate, answer)
        self.url = f"https://hook.example.test:{self.port}/ask/here"
        world.origin.forget()


def control(world, *arguments):
    return world.sandboxctl(*arguments).expect(0).text


def written(running):
    """The audit log of a sandbox that runs, so far."""
    return running.audit_path.read_bytes() if running.audit_path.exists() else b""


def script(folder, text):
    file = folder / "approve"
    file.write_text("#!/bin/sh\n" + text)
    file.chmod(0o755)
    return str(file)


@test("a webhook is asked with all that a person needs, signed, and its yes lets the request go")
def _(world):
    with AtHook(world, lambda post: (200, ALLOW)) as hook:
        rules = policy(f'webhook = "{hook.url}", key = env "HOOK_KEY"', more=', show_body = "16B"') + """
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
        command = fetch("/pay/1?card=4242", "-d", "amount=9&note=\x1b[2J", "-H")
        command = ["sh", "-c", f'curl -sS -w " %{{http_code}}" -d "$1" -H "Authorization: Bearer $API_TOKEN" {command[-1]}',
                   "sh", "amount=9&note=\x1b[2J"]
        value = "ghp_TheRealValue000000000000000000000001"
        result = world.run(command, rules, env={"HOOK_KEY": "the key of the hook", "API_TOKEN": value})
        result.expect(0)
        assert result.out.endswith(b" 200"), result
        [post] = hook.posts
    assert post.path == "/ask/here" and post.headers["Content-Type"] == "application/json", post.path
    told = json.loads(post.body)
    sandbox = result.told(transport="https")["sandbox"]
    assert told["id"].startswith(sandbox + "/"), told
    expected = {"version": 1, "sandbox": sandbox, "rule": "policy.lua:3", "place": "policy.lua:3", "message": "pay?",
                "kind": "https", "host": "whoami.example.test", "port": 443, "method": "POST", "path": "/pay/1",
                "has_query": True, "secrets": ["API_TOKEN"], "body_bytes": 18, "body_start": "amount=9&note=\x1b[",
                "timeout_ms": 60000}
    assert {key: told.get(key) for key in expected} == expected, told
    assert post.body.isascii() and b"\x1b" not in post.body
    assert value.encode() not in post.body and b"4242" not in post.body, "a value, or the query"
    time_part, _, digest = post.headers["X-Sallyport-Signature"].partition(",v1=")
    seconds = time_part.removeprefix("t=")
    assert abs(int(seconds) - time.time()) < 300
    signed = hmac.new(b"the key of the hook", f"{seconds}.".encode() + post.body, hashlib.sha256)
    assert digest == signed.hexdigest()
    assert result.told(method="approve once")["detail"] == "answered by the webhook"


@test("a webhook's no is told the guest, and nothing goes upstream")
def _(world):
    with AtHook(world, lambda post: (200, DENY)) as hook:
        result = world.run(fetch("/pay/1"), policy(f'webhook = "{hook.url}"'))
        assert result.out.endswith(b" 403") and b"approval_denied" in result.out, result
        assert not [r for r in world.origin.requests if r.path == "/pay/1"]


@test("a webhook's yes for the session is not asked for again, and many equal questions are one")
def _(world):
    with AtHook(world, lambda post: (200, b' {"scope":"session", "decision":"allow"}\n')) as hook:
        line = 'for i in 1 2 3 4; do curl -sS -o /dev/null -w "%{http_code}\\n" https://whoami.example.test/pay/1 & done; wait; '
        result = world.run(line + line, policy(f'webhook = "{hook.url}"'))
        assert result.out.split() == [b"200"] * 8, result
        assert len(hook.posts) == 1, len(hook.posts)


@test("anything but an answer is none: the guest is told to try later, and the log says why")
def _(world):
    wrong = [((500, ALLOW), "status 500"), ((302, ALLOW, {"Location": "https://whoami.example.test/"}), "status 302"),
             ((200, b"yes"), "is not"), ((200, b'{"decision":"allow","decision":"deny"}'), "is not"),
             ((200, b'{"decision":"allow","scope":"forever"}'), "is not"), ((200, b'{"decision":"allow","x":1}'), "is not"),
             ((200, b'["allow"]'), "is not"), ((200, ALLOW + b"x" * 2000), "is not")]
    answers = iter([answer for answer, _ in wrong])
    with AtHook(world, lambda post: next(answers)) as hook:
        script = ";".join(f"curl -sS https://whoami.example.test/pay/{i} | tr -d '\\n'; echo" for i in range(len(wrong)))
        result = world.run(script, policy(f'webhook = "{hook.url}"', wait="1s"))
        told = [json.loads(line) for line in result.text.splitlines()]
        assert len(told) == len(wrong) and all(t["type"].endswith("approval_pending") for t in told), told
        assert len(hook.posts) == len(wrong), len(hook.posts)
    details = [r["detail"] for r in result.audit if r.get("method") == "approve"]
    assert len(details) == len(wrong), details
    for (_, words), detail in zip(wrong, details):
        assert words in detail and "https://hook.example.test" in detail and "/ask/here" not in detail, detail
    assert not [r for r in world.origin.requests if r.path.startswith("/pay/")]


@test("a webhook that nobody answers, or that has no good certificate, is no yes")
def _(world):
    for url, words in (("https://nobody.example.test/", "refused"), ("https://selfsigned.example.test/", "certificate"),
                       ("https://gone.example.test/", "gone.example.test")):
        result = world.run(fetch("/pay/1"), policy(f'webhook = "{url}"', wait="1s"))
        assert b"approval_pending" in result.out, result
        detail = result.told(method="approve")["detail"]
        assert words in detail, detail


@test("a webhook on a private address is refused unless the policy says private")
@netns.on_host
def _(world):
    with Hook("127.0.0.1", None, lambda post: (200, ALLOW)) as hook:
        url = f"http://127.0.0.1:{hook.port}/"
        refused = world.run(fetch("/pay/1"), policy(f'webhook = "{url}"'))
        assert refused.code == 125 and "private = true" in refused.errors, refused
        result = world.run(fetch("/pay/1"), policy(f'webhook = "{url}", private = true'))
        assert result.out.endswith(b" 200"), result
    far = world.run(fetch("/pay/1"), policy('webhook = "http://hook.example.test/"'))
    assert far.code == 125 and "https://" in far.errors, far


@test("a key that is not there ends the start with its name")
def _(world):
    for user in (ROOT, PLAIN):
        result = world.run("echo started", policy('webhook = "https://hook.example.test/", key = env "NO_KEY"'), user)
        assert result.code == 125 and "NO_KEY is not set" in result.errors and "started" not in result.text, result


@test("a command is given the question, as the user, and its exit status is the answer")
def _(world):
    for user in (ROOT, PLAIN):
        folder = world.folder_for(user)
        file = script(folder, f'cat >{folder}/question; echo "$WORD $(id -u) $(pwd)" >>{folder}/who; '
                      f'grep -q yes {folder}/question')
        rules = policy(f'command = {{ "{file}" }}')
        result = world.run(fetch("/pay/yes"), rules, user, env={"WORD": "environment"}).expect(0)
        assert result.out.endswith(b" 200"), result
        assert json.loads((folder / "question").read_text())["path"] == "/pay/yes"
        word, uid, where = (folder / "who").read_text().split()
        assert (word, int(uid)) == ("environment", user) and where == os.path.dirname(result.argv[result.argv.index("-f") + 1])
        result = world.run(fetch("/pay/no"), rules, user)
        assert result.out.endswith(b" 403") and b"approval_denied" in result.out, result
        assert result.told(method="approve deny")["detail"] == "answered by the command"


@test("a command may print its answer; another exit status, or other words, are none")
def _(world):
    folder = world.folder_for(ROOT)
    cases = {"print": "200", "words": "403", "seven": "403", "gone": "403"}
    rules = policy('''command = { "sh", "-c", [[case "$(cat)" in *pay/print*) echo '{"decision":"allow","scope":"session"}';;
        *pay/words*) echo sure;; *pay/seven*) echo no idea >&2; exit 7;; *) kill -9 $$;; esac]] }''', wait="1s")
    line = ";".join(f'curl -sS -o /dev/null -w "%{{http_code}}\\n" https://whoami.example.test/pay/{p}' for p in cases)
    result = world.run(line, rules)
    assert result.text.split() == list(cases.values()), result
    details = [r["detail"] for r in result.audit if r.get("method") == "approve"]
    assert len(details) == 3 and "status 7" in details[1] and "no idea" in details[1] and "signal 9" in details[2], details
    assert folder.exists()


@test("--approve-command asks a program of the command line's, instead of the policy's")
def _(world):
    folder = world.folder_for(ROOT)
    rules = policy('command = { "false" }')
    file = script(folder, "exit 0\n")
    result = world.run(fetch("/pay/1"), rules, options=["--approve-command", file])
    assert result.out.endswith(b" 200"), result
    alone = rules.replace('sandbox { approvals = { command = { "false" } } }', "")
    result = world.run(fetch("/pay/1"), alone, options=["--approve-command", "./approve"], cwd=str(folder))
    assert result.out.endswith(b" 200"), result


@test("the first answer wins: the command is killed, and the webhook hung up on")
def _(world):
    folder = world.folder_for(ROOT)
    file = script(folder, f"echo $$ >{folder}/pid; exec sleep 300\n")
    gone = []

    def wait_for_the_end(post):
        readable, _, _ = select.select([post.connection], [], [], 30)
        gone.append(bool(readable))
        return 200, ALLOW

    with AtHook(world, wait_for_the_end) as hook:
        running = world.start(fetch("/pay/1"), policy(f'webhook = "{hook.url}", command = {{ "{file}" }}', wait="60s"))
        assert poll(lambda: hook.posts and (folder / "pid").exists() and (folder / "pid").read_text().strip(), 20)
        pid = int((folder / "pid").read_text())
        line = control(world, "approvals").splitlines()[1].split()
        control(world, "approve", line[0], line[1])
        result = running.finish()
        assert result.out.endswith(b" 200"), result
        assert poll(lambda: gone == [True], 20), gone
        assert poll(lambda: not os.path.exists(f"/proc/{pid}"), 20)
    [approved] = [r for r in result.audit if r.get("method", "").startswith("approve")]
    assert approved["method"] == "approve once" and "detail" not in approved, approved


@test("one channel's failure leaves the question to the other")
def _(world):
    folder = world.folder_for(ROOT)
    file = script(folder, f"until test -e {folder}/go; do sleep 0.05; done\n")

    def fail(post):
        return 500, b""

    with AtHook(world, fail) as hook:
        running = world.start(fetch("/pay/1"), policy(f'webhook = "{hook.url}", command = {{ "{file}" }}', wait="60s"))
        assert poll(lambda: b"status 500" in written(running), 20)
        (folder / "go").touch()
        result = running.finish()
        assert result.out.endswith(b" 200"), result
        assert result.told(method="approve once")["detail"] == "answered by the command"


@test("a channel's time-out is told, and a later answer counts for the next try")
def _(world):
    folder = world.folder_for(ROOT)
    rules = policy('command = { "sleep", "300" }, timeout = "1s"', wait="3s")
    result = world.run(fetch("/pay/1"), rules)
    assert b"approval_pending" in result.out, result
    assert "in time" in result.told(method="approve")["detail"], result
    file = script(folder, f"until test -e {folder}/go; do sleep 0.05; done\n")
    url = "https://whoami.example.test/pay/1"
    running = world.start(["sh", "-c", f'curl -sS {url} >/dev/null; echo; read -r go; curl -sS -o /dev/null -w "%{{http_code}}" {url}'],
                          policy(f'command = {{ "{file}" }}', wait="1s"))
    running.process.stdout.readline()
    (folder / "go").touch()
    assert poll(lambda: b"approve once" in written(running), 20)
    assert running.finish(b"go\n").out.strip() == b"200"


@test("a command that still runs when the sandbox ends is ended with it")
def _(world):
    folder = world.folder_for(ROOT)
    file = script(folder, f"echo $$ >{folder}/pid; exec sleep 300\n")
    line = "curl -sS https://whoami.example.test/pay/1 & until test -s /shared/pid; do sleep 0.05; done"
    world.run(line, policy(f'command = {{ "{file}" }}'), options=["-v", f"{folder}:/shared:ro"]).expect(0)
    pid = int((folder / "pid").read_text())
    assert poll(lambda: not os.path.exists(f"/proc/{pid}"), 20)


@test("a guest can't change the program that answers it, nor read the key")
def _(world):
    folder = world.folder_for(ROOT)
    script(folder, "exit 1\n")
    (folder / "key").write_text("the key of the hook")
    rules = policy(f'command = {{ "{folder}/approve" }}, webhook = "https://nobody.example.test/", key = file "{folder}/key"')
    keyless = policy(f'command = {{ "{folder}/approve" }}')
    for mount, rules_there, words in ((f"{folder}:/shared", keyless, "its program"),
                                      (f"{folder}:/shared:ro", rules, "would be seen")):
        result = world.run("echo started", rules_there, options=["-v", mount])
        assert result.code == 125 and words in result.errors and "started" not in result.text, result
    got = world.run("echo started", options=["--approve-command", f"{folder}/approve", "-v", f"{folder}:/shared"])
    assert got.code == 125 and "its program" in got.errors, got


@test("nothing is left behind")
def _(world):
    world.nothing_left()
    assert not [name for _, name in descendants() if name.startswith("sandbox-")]
    assert world.audit_violations() == []


if __name__ == "__main__":
    main(World)
