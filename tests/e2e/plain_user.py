#!/usr/bin/env python3
"""The main job, by a user without any rights: no root, no sudo, no group, no tun device."""

import json
import os
import stat
import subprocess

from harness import PLAIN, World, main, skip, test

VALUE = "plain-user-token-0123456789"
POLICY = """
allow.http { host = { "whoami.example.test", "other.example.test" } }
secret "TOKEN" { from = env "TOKEN", hosts = { "whoami.example.test" } }
"""


def plain_world():
    world = World()
    probe = subprocess.run(world.as_user(PLAIN) + ["unshare", "-Ur", "true"], check=False,
                           capture_output=True)
    if probe.returncode != 0:
        world.close()
        skip("this host forbids user namespaces")
    return world


@test("a secret is swapped for a plain user's sandbox")
def _(world):
    world.origin.forget()
    got = world.run('curl -sS -H "Authorization: Bearer $TOKEN" https://whoami.example.test/hi',
                    policy=POLICY, user=PLAIN, env={"TOKEN": VALUE}).expect(0)
    assert got.text == "hello /hi\n"
    assert world.origin.requests[0].get("authorization") == f"Bearer {VALUE}"


@test("what is not granted is refused for a plain user's sandbox")
def _(world):
    got = world.run("curl -sS https://evil.example.test/", policy=POLICY, user=PLAIN,
                    env={"TOKEN": VALUE}).expect(0)
    assert "name_not_granted" in json.loads(got.text)["type"]
    got = world.run("curl -sS -m 10 http://1.1.1.1/", policy=POLICY, user=PLAIN,
                    env={"TOKEN": VALUE}).expect(7)
    assert got.told(address="1.1.1.1", verdict="deny")


@test("without a readable tun device a packet link is used, and said")
def _(world):
    mode = os.stat("/dev/net/tun").st_mode if os.path.exists("/dev/net/tun") else 0
    got = world.run("true", policy=POLICY, user=PLAIN, env={"TOKEN": VALUE}, options=["--verbose"])
    expected = "link tap" if mode & stat.S_IWOTH and mode & stat.S_IROTH else "link packet"
    assert expected in got.expect(0).errors, got


@test("large bodies pass a plain user's link whole")
def _(world):
    code = ("import hashlib, urllib.request as u\n"
            "b = u.urlopen('https://other.example.test/bytes/20000000').read()\n"
            "print(hashlib.sha256(b).hexdigest())\n"
            "print(u.urlopen('https://other.example.test/sha256', data=b).read().decode().strip())\n")
    got = world.python(code, policy=POLICY, user=PLAIN, env={"TOKEN": VALUE}, timeout=120).expect(0)
    down, up = got.text.split()
    import hashlib
    from harness.origin import pattern
    assert down == up == hashlib.sha256(pattern(20_000_000)).hexdigest()


@test("state and audit log lie in the user's own folders")
def _(world):
    argv = world.as_user(PLAIN) + [str(world.programs_for(PLAIN) / "sandboxctl"), "run", "--resolver",
                                   "11.0.0.53", "--", "curl", "-sS", "https://evil.example.test/"]
    subprocess.run(argv, env=world.environment(PLAIN), cwd="/", check=True, capture_output=True)
    log = world.home(PLAIN) / ".local/state/sallyport/audit.jsonl"
    assert "name_not_granted" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600 and log.stat().st_uid == PLAIN
    log.unlink()
    (world.home(PLAIN) / ".local/state/sallyport").rmdir()
    (world.home(PLAIN) / ".local/state").rmdir()
    (world.home(PLAIN) / ".local").rmdir()


@test("doctor tells a plain user what this host can do")
def _(world):
    got = world.sandboxctl("doctor", user=PLAIN).expect(0)
    assert "user namespaces" in got.text.lower(), got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(plain_world)
