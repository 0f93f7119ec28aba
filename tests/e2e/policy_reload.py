#!/usr/bin/env python3
"""`policy reload`: what a new policy denies ends at once, and one with a mistake changes nothing."""

import contextlib
import pathlib
import subprocess

from harness import PLAIN, ROOT, World, main, test

TOKEN, OTHER = "ghp_TheFirstValueOfThisToken00000000001", "ghp_AnotherOne0000000000000000000000002"
POLICY = """
allow.http { host = "whoami.example.test" }
allow.tcp { host = "second.example.test", port = 80 }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
# A request for each line of its input, over one connection for each host as long as that lasts.
ASK = r"""
import http.client, os, socket, ssl, sys
kept = {}
def ask(host, path, token):
    if host not in kept:
        kept[host] = http.client.HTTPSConnection(host, timeout=10)
    kept[host].request("GET", path, headers={"Authorization": "Bearer " + token} if token else {})
    answer = kept[host].getresponse()
    answer.read()
    return answer.status
raw = None
for line in sys.stdin:
    what, host, *rest = line.split()
    try:
        if what == "get":
            token = os.environ.get(rest[0], rest[0]) if rest else ""
            print(ask(host, "/", token), flush=True)
        elif what == "open":
            raw = socket.create_connection((host, 80), 10)
            raw.settimeout(10)
            print("open", flush=True)
        elif what == "use":
            raw.sendall(b"GET / HTTP/1.1\r\nHost: second.example.test\r\n\r\n")
            print(raw.recv(12).decode() or "end", flush=True)
    except (OSError, http.client.HTTPException) as why:
        if what == "get":
            kept.pop(host).close()
        print(type(why).__name__, flush=True)
"""


class Guest:
    def __init__(self, world, user, policy, options=()):
        self.world, self.user = world, user
        self.running = world.start(["python3", "-c", ASK], policy, user=user, env={"API_TOKEN": TOKEN},
                                   options=options)
        self.file = pathlib.Path(self.running.argv[self.running.argv.index("-f") + 1])

    def say(self, *words):
        self.running.process.stdin.write((" ".join(words) + "\n").encode())
        self.running.process.stdin.flush()
        return self.running.process.stdout.readline().decode().strip()

    def find(self):
        argv = self.world.as_user(self.user) + [str(self.world.programs_for(self.user) / "sandboxctl"), "ls"]
        listed = subprocess.run(argv, env=self.world.environment(self.user), capture_output=True, text=True,
                                check=True).stdout.splitlines()[1:]
        assert len(listed) == 1, listed
        self.id = listed[0].split()[0]

    def reload(self, policy=None, file=None, env=None):
        if policy is not None:
            self.file.write_text(policy)
        more = [str(file)] if file else []
        return self.world.sandboxctl("policy", "reload", self.id, *more, user=self.user, env=env or {})


@contextlib.contextmanager
def guest(world, user=ROOT, policy=POLICY, options=()):
    world.origin.forget()
    one = Guest(world, user, policy, options)
    try:
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "200"
        one.find()
        yield one
    finally:
        one.result = one.running.finish()


for who, user in (("root", ROOT), ("a plain user", PLAIN)):

    @test(f"what was allowed is denied after a reload: the live connection is cut, a new one refused, for {who}")
    def _(world, user=user):
        with guest(world, user) as one:
            assert one.say("open", "second.example.test") == "open"
            assert one.say("use", "second.example.test") == "HTTP/1.1 200"
            told = one.reload('allow.http { host = "other.example.test" }')
            assert told.code == 0 and "generation 2" in told.text and "2 connections were cut" in told.text, told
            assert one.say("use", "second.example.test") in ("ConnectionResetError", "BrokenPipeError", "end")
            assert one.say("open", "second.example.test") == "open"  # To be told why, on port 80.
            assert one.say("use", "second.example.test") == "HTTP/1.1 403"
            broken = one.say("get", "whoami.example.test")
            assert broken != "200", broken
            assert one.say("get", "whoami.example.test") == "403"
            assert one.say("get", "other.example.test") == "200"
        cut = one.result.told(transport="tcp", name="second.example.test", generation=1)
        assert "reloaded" in cut["detail"], cut
        one.result.told(transport="control", method="policy reload", generation=2)
        one.result.told(transport="https", name="other.example.test", generation=2, verdict="allow")
        assert all("generation" in record for record in one.result.audit), one.result


@test("a connection that the new policy grants on the same terms goes on, others are decided anew")
def _(world):
    policy = POLICY + 'allow.http { host = "third.example.test", path = "/**" }\n'
    with guest(world, policy=policy) as one:
        assert one.say("open", "second.example.test") == "open"
        assert one.say("get", "third.example.test") == "200"
        told = one.reload("-- another line\n" + policy.replace('"/**"', '"/none"'))
        assert told.code == 0 and "1 connection was cut" in told.text, told
        assert one.say("use", "second.example.test").startswith("HTTP/1.1")
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "200"
        one.say("get", "third.example.test")
        assert one.say("get", "third.example.test") == "403"


@test("a policy with a mistake keeps the old one, and says why with its line")
def _(world):
    with guest(world) as one:
        told = one.reload('allow.http { host = "whoami.example.test" }\nallow.htpp { host = "x.example" }\n')
        assert told.code == 1 and "policy.lua:2: error:" in told.errors and "nothing was changed" in told.errors, told
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "200"
        one.file.unlink()
        gone = one.reload()
        assert gone.code == 1 and f"policy reload {one.id} policy.lua" in gone.errors, gone
        missing = one.reload(file=one.file.with_name("none.lua"))
        assert missing.code == 1 and "nothing was changed: " in missing.errors and "none.lua" in missing.errors, missing
        new = 'allow.http { host = "other.example.test" }\nsecret "NEW" { from = env "NEW", hosts = { "other.example.test" } }'
        unread = one.reload(new)
        assert unread.code == 1 and "policy.lua:2: secret NEW: the variable NEW is not set where the reload was asked for" in unread.errors, unread
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "200"
    assert all(record["generation"] == 1 for record in one.result.audit), one.result


@test("secrets that are not declared any more are revoked, new ones are read by the caller, narrowed ones hold")
def _(world):
    with guest(world) as one:
        told = one.reload('allow.http { host = { "whoami.example.test", "other.example.test" } }\n'
                          'secret "NEW" { from = env "NEW", hosts = { "other.example.test" }, '
                          'inject = { authorization = "Bearer {}" } }', env={"NEW": OTHER})
        assert told.code == 0, told
        one.say("get", "whoami.example.test")
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "403"
        assert one.say("get", "other.example.test") == "200"
        assert world.origin.requests[-1].get("authorization") == f"Bearer {OTHER}"
        assert one.say("get", "whoami.example.test") == "200"  # No secret is bound there now.
        back = one.reload(POLICY.replace('hosts = { "whoami', 'hosts = { "other'), env={"API_TOKEN": OTHER})
        assert back.code == 0, back
        one.say("get", "whoami.example.test")
        assert one.say("get", "whoami.example.test", "API_TOKEN") == "403"
    one.result.told(reason="secret_unavailable", generation=2)
    one.result.told(reason="secret_wrong_host", generation=3)
    assert TOKEN not in str(one.result.audit) and OTHER not in str(one.result.audit)


@test("a name that was refused resolves after a reload, at the address it had")
def _(world):
    with guest(world) as one:
        assert one.say("get", "other.example.test") == "403"
        assert one.reload(POLICY + 'allow.http { host = "other.example.test" }\n').code == 0
        one.say("get", "other.example.test")  # The connection that told the refusal is cut.
        assert one.say("get", "other.example.test") == "200"


@test("what only a start can give is a warning, and the sandbox can't become its own policy's author")
def _(world):
    shared = world.folder_for(ROOT)
    with guest(world, options=["-v", f"{shared}:/shared"]) as one:
        told = one.reload(POLICY + 'sandbox { hostname = "other", rate = "99/s" }\ndns { resolvers = { "11.0.0.99" } }\n')
        assert told.code == 0 and "hostname } can't change" in told.errors and "resolvers } can't change" in told.errors, told
        assert "rate, … }) can't change" in told.errors, told
        (shared / "policy.lua").write_text('allow.http { host = any }\n')
        refused = one.reload(file=shared / "policy.lua")
        assert refused.code == 1 and "which is mounted in the sandbox" in refused.errors, refused
        nobody = world.sandboxctl("policy", "reload", one.id, user=PLAIN)
        assert nobody.code == 1 and "no sandbox" in nobody.errors, nobody


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
