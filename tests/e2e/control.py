#!/usr/bin/env python3
"""What other commands of the same user do to a sandbox that runs: ls, and the secrets' life."""

import contextlib
import json
import subprocess

from harness import PLAIN, ROOT, World, main, test
from harness.sandbox import poll

OLD, NEW = "ghp_TheFirstValueOfThisToken00000000001", "ghp_AnotherOne/LongerThanTheFirst+0000000000002"
POLICY = """
allow.http { host = { "whoami.example.test", "second.example.test" } }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
# Each line of its input is a token, or empty for the variable's own, and a host.
ASK = """while read -r host token; do
  curl -sS -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer ${token:-$API_TOKEN}" "https://$host.example.test/"
done"""


class Asking:
    """A guest that sends a request when it is told to."""

    def __init__(self, world, user):
        self.world = world
        self.running = world.start(["sh", "-c", ASK], POLICY, user=user, env={"API_TOKEN": OLD})

    def ask(self, host="whoami", token=""):
        process = self.running.process
        process.stdin.write(f"{host} {token}\n".encode())
        process.stdin.flush()
        return int(process.stdout.readline())


@contextlib.contextmanager
def guest(world, user=ROOT):
    world.origin.forget()
    asking = Asking(world, user)
    try:
        assert asking.ask() == 200
        asking.id = only(world, user)
        yield asking
    finally:
        asking.result = asking.running.finish()


def control(world, *arguments, user=ROOT, value=None, env=None):
    argv = world.as_user(user) + [str(world.programs_for(user) / "sandboxctl"), *arguments]
    return subprocess.run(argv, env=world.environment(user, env), cwd="/", text=True, timeout=60, input=value,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def done(completed, code=0):
    assert completed.returncode == code, completed
    return completed.stdout if code == 0 else completed.stderr


def rows(text):
    return [line.split() for line in text.splitlines()[1:]]


def only(world, user):
    listed = rows(done(control(world, "ls", user=user)))
    assert len(listed) == 1, listed
    return listed[0][0]


def sent(world):
    return [request.get("authorization") for request in world.origin.requests]


@test("ls shows the sandboxes of its user, and nobody else's")
def _(world):
    with guest(world) as asking:
        listed = rows(done(control(world, "ls")))
        assert [row[:3] for row in listed] == [[asking.id, "policy.lua", "namespace"]], listed
        assert rows(done(control(world, "ls", user=PLAIN))) == []
    assert poll(lambda: rows(done(control(world, "ls"))) == [])


for who, user in (("root", ROOT), ("a plain user", PLAIN)):

    @test(f"a rotated secret goes out with its new value under the same placeholder, for {who}")
    def _(world, user=user):
        with guest(world, user) as asking:
            done(control(world, "secret", "rotate", asking.id, "API_TOKEN", user=user, value=NEW + "\n"))
            assert asking.ask() == 200
        assert sent(world) == [f"Bearer {OLD}", f"Bearer {NEW}"], sent(world)
        asking.result.told(transport="control", method="secret rotate", secrets=["API_TOKEN"])

    @test(f"a revoked secret is refused from then on, and the guest is told, for {who}")
    def _(world, user=user):
        with guest(world, user) as asking:
            done(control(world, "secret", "revoke", asking.id[:6], "API_TOKEN", user=user))
            assert asking.ask() == 403
            assert rows(done(control(world, "secret", "ls", asking.id, user=user)))[0][-1] == "revoked"
        assert sent(world) == [f"Bearer {OLD}"], sent(world)
        asking.result.told(reason="secret_unavailable")


@test("an added secret's placeholder works at its host, and nowhere else")
def _(world):
    with guest(world) as asking:
        placeholder = done(control(world, "secret", "add", asking.id, "OTHER@second.example.test", "--env", "V",
                                   env={"V": NEW})).strip()
        assert placeholder and placeholder != NEW
        assert asking.ask("second", placeholder) == 200
        assert asking.ask("whoami", placeholder) == 403
        listed = [row[0] for row in rows(done(control(world, "secret", "ls", asking.id)))]
        assert listed == ["API_TOKEN", "OTHER"], listed
    assert sent(world) == [f"Bearer {OLD}", f"Bearer {NEW}"], sent(world)


@test("a value comes from a file, too, without its last newline")
def _(world):
    file = world.folder_for(ROOT) / "token"
    file.write_text(NEW + "\n")
    with guest(world) as asking:
        done(control(world, "secret", "rotate", asking.id, "API_TOKEN", "--file", str(file)))
        assert asking.ask() == 200
    assert sent(world)[-1] == f"Bearer {NEW}"


@test("neither the audit log nor a reply shows a value")
def _(world):
    with guest(world) as asking:
        told = [control(world, "secret", "rotate", asking.id, "API_TOKEN", value=NEW),
                control(world, "secret", "ls", asking.id), control(world, "secret", "revoke", asking.id, "API_TOKEN")]
    text = json.dumps(asking.result.audit) + "".join(t.stdout + t.stderr for t in told)
    assert OLD not in text and NEW not in text, text


@test("what can't be done is refused with the reason, and changes nothing")
def _(world):
    with guest(world) as asking:
        for arguments, value, why in (
                (("revoke", asking.id, "NOBODY"), None, "there is no secret NOBODY"),
                (("rotate", asking.id, "API_TOKEN"), "", "the value is empty"),
                (("rotate", asking.id, "API_TOKEN"), "two\nlines", "line"),
                (("add", asking.id, "API_TOKEN@second.example.test"), NEW, "API_TOKEN"),
                (("add", asking.id, "W@*.example.test"), NEW, "wildcards belong into the policy"),
                (("add", asking.id, "W"), NEW, "write NAME@HOST"),
                (("ls", "sp-nobody"), None, "no sandbox sp-nobody of yours is running")):
            told = done(control(world, "secret", *arguments, value=value), 1)
            assert why in told, (arguments, told)
        told = done(control(world, "secret", "revoke", asking.id, "API_TOKEN", user=PLAIN), 1)
        assert "no sandbox" in told, told
        assert asking.ask() == 200
    assert sent(world) == [f"Bearer {OLD}"] * 2, sent(world)


@test("a guest has no way to the control socket")
def _(world):
    with guest(world) as asking:
        program = ("import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
                   f"print(s.connect_ex('\\0sallyport/0/{asking.id}'))")
        inside = world.run(f"python3 -c \"{program}\"", policy=POLICY, env={"API_TOKEN": OLD}).expect(0)
        assert inside.text.strip() == "111", inside  # ECONNREFUSED: nobody is there.


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
