#!/usr/bin/env python3
"""A mistake in a policy is found before anything starts, with its place and the word meant."""

import os
import subprocess

from harness import World, main, test

# What is wrong; the policy; words that the message must have. `policy.lua:LINE` is one of them.
MISTAKES = [
    ("an unknown field", 'allow.http { hots = "api.example.test" }', [":1", "hots", "'host'"]),
    ("an unknown verb", '\nalow.http { host = "api.example.test" }', [":2", "alow", "'allow'"]),
    ("an unknown kind of rule", 'allow.htpp { host = "api.example.test" }', [":1", "htpp", "'http'"]),
    ("a missing host", 'allow.http { method = "GET" }', [":1", "host"]),
    ("a wrong type", 'allow.http { host = 42 }', [":1", "host"]),
    ("a wrong type in a list", 'allow.http { host = { "a.example.test", 7 } }', [":1", "host"]),
    ("a port out of range", 'allow.http { host = "a.example.test", port = 70000 }', [":1", "port"]),
    ("a wildcard inside a name", 'allow.http { host = "api.*.example.test" }', [":1", "*"]),
    ("a wildcard over a public suffix",
     'secret "T" { from = env "HOME", hosts = { "*.com" } }', [":1", "com"]),
    ("a URL for a host", 'allow.http { host = "https://api.example.test/" }', [":1", "host"]),
    ("an address for a host", 'allow.http { host = "10.0.0.1" }', [":1", "ip"]),
    ("a syntax error", 'allow.http { host = "a.example.test" ', [":1"]),
    ("an undeclared global", 'local x = 1\nlocal y = tokne\n', [":2", "tokne"]),
    ("a secret without hosts", 'secret "T" { from = env "HOME" }', [":1", "hosts"]),
    ("a secret with empty hosts", 'secret "T" { from = env "HOME", hosts = {} }', [":1", "hosts"]),
    ("a secret without a source", 'secret "T" { hosts = { "a.example.test" } }', [":1", "from"]),
    ("a secret that is never described", 'local t = secret "T"\n', [":1", "secret"]),
    ("an unknown field of a secret",
     'secret "T" { from = env "HOME", hosts = { "a.example.test" }, foriegn = "block" }',
     [":1", "foriegn", "'foreign'"]),
    ("an unknown choice",
     'secret "T" { from = env "HOME", hosts = { "a.example.test" }, foreign = "blok" }',
     [":1", "blok", "block"]),
    ("an unknown dns choice", 'dns { unlisted = "explian" }', [":1", "explian", "explain"]),
    ("an unknown sandbox field", 'sandbox { imagee = "x" }', [":1", "imagee", "'image'"]),
    ("a deny that an earlier rule hides",
     'allow.http { host = "*.example.test" }\ndeny.http { host = "a.example.test" }', [":2"]),
    ("a deny that an earlier rule hides by a wider path",
     'allow.http { host = "a.example.test", path = "/a/*" }\n'
     'deny.http { host = "a.example.test", path = "/a/b" }', [":2"]),
    ("a block that is assigned", 'sandbox = { network = false }', [":1", "sandbox { ... }"]),
    ("rules that are assigned away", 'deny = nil', [":1", "deny.http { ... }"]),
    ("an undeclared name in a callback",
     'on.request("a.example.test", function(req)\n  reqq:deny()\nend)', [":2", "reqq", "'req'"]),
    ("a path that no request has", 'deny.http { host = "a.example.test", path = "/a/../b" }',
     [":1", "'/b'"]),
    ("raw TCP over a host with HTTP rules",
     'allow.http { host = "a.example.test" }\nallow.tcp { host = "a.example.test", port = 443 }',
     [":2"]),
    ("a library that is not there", 'os.execute("id")', [":1", "os"]),
    ("loading of code", 'load("x = 1")()', [":1", "load"]),
    ("an error of the script's own", 'error("on purpose")', ["on purpose"]),
    ("a script without an end", 'while true do end', [":1"]),
    ("a script that eats memory", 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end',
     []),
]


def register(what, policy, words):
    @test(f"{what} ends the start with its place")
    def _(world):
        got = world.run("echo started", policy=policy)
        assert got.code == 125, got
        assert "started" not in got.text and got.out == b"", got
        assert "policy.lua" in got.errors, got
        for word in words:
            assert word in got.errors, f"no {word!r}\n{got}"
        # `policy check` says the same, and needs no sandbox for it.
        file = got.argv[got.argv.index("-f") + 1]
        checked = world.sandboxctl("policy", "check", file)
        assert checked.code == 1, checked
        for word in words:
            assert word in checked.text + checked.errors, f"no {word!r}\n{checked}"
        assert got.audit == [], got


for mistake in MISTAKES:
    register(*mistake)


@test("every mistake is told at once")
def _(world):
    got = world.run("true", policy='allow.http { hots = "a.example.test" }\n'
                                   'allow.http { host = "a.example.test", methd = "GET" }\n')
    assert got.code == 125 and ":1" in got.errors and ":2" in got.errors, got


@test("a policy without mistakes is called valid")
def _(world):
    file = world.folder / "good.lua"
    file.write_text('allow.http { host = "a.example.test" }\n')
    got = world.sandboxctl("policy", "check", str(file)).expect(0)
    assert "valid" in got.text, got


@test("policy check reads no secret")
def _(world):
    file = world.folder / "secret.lua"
    file.write_text('secret "T" { from = file "/no/such/file", hosts = { "a.example.test" } }\n'
                    'secret "U" { from = env "NOT_SET_ANYWHERE", hosts = { "a.example.test" } }\n'
                    'allow.http { host = "a.example.test" }\n')
    world.sandboxctl("policy", "check", str(file)).expect(0)


@test("isolation = \"vm\" is refused where it can't be had, never replaced by less")
def _(world):
    got = world.run("echo started", policy='sandbox { isolation = "vm" }')
    assert got.code == 125 and "started" not in got.text and "vm" in got.errors, got


@test("what namespaces don't give is said, and the program runs")
def _(world):
    got = world.run("echo started", policy='sandbox { image = "debian:12", cpus = 2, memory = "1GiB" }').expect(0)
    for field in ("image", "cpus", "memory"):
        assert f"{{ {field} }}" in got.errors, got
    assert got.text == "started\n", got


@test("a policy or a template that is no regular file is refused at once")
def _(world):
    fifo = world.folder / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o644)
    template = 'sandbox {{ mounts = {{ {{ "{}", "/tmp/x", template = true }} }} }}'
    for options, policy in ((["--policy", "/dev/zero"], None), ([], template.format("/dev/zero")),
                            ([], template.format(fifo))):
        got = world.run("echo started", policy=policy, options=options, timeout=30)
        assert got.code == 125 and "started" not in got.text, got
        assert "no regular file" in got.errors, got
    checked = world.sandboxctl("policy", "check", "/dev/zero")
    assert checked.code != 0 and "no regular file" in checked.errors, checked


def piped(world, *arguments, text):
    """sandboxctl ARGUMENTS with TEXT in the pipe /dev/stdin, as a shell's <(...) is one."""
    return subprocess.run([str(world.binaries / "sandboxctl"), *arguments], input=text, text=True,
                          capture_output=True, timeout=60, cwd=world.folder)


@test("a policy that the user gives through a pipe is read to its end")
def _(world):
    good = 'allow.http { host = "a.example.test" }\n'
    got = piped(world, "policy", "explain", "/dev/stdin", "http", "GET", "https://a.example.test/",
                text=good)
    assert got.returncode == 0 and "(pipe):1" in got.stdout, got
    got = piped(world, "policy", "check", "/dev/stdin", text='\nallow.http { hots = "a" }\n')
    assert got.returncode != 0 and "(pipe):2" in got.stdout + got.stderr, got
    got = piped(world, "run", "--policy", "/dev/stdin", "--", "echo", "started", text=good)
    assert got.returncode == 0 and got.stdout == "started\n", got
    got = piped(world, "doctor", "trust", "-f", "/dev/stdin", text='\nallow.http { hots = "a" }\n')
    assert got.returncode == 125 and "(pipe):2" in got.stderr, got


@test("what a policy in a pipe allows is not learnt again, and `why` shows its rule's line")
def _(world):
    got = world.run("curl -s https://api.example.test/x; curl -s https://other.example.test/y",
                    policy='allow.http { host = "api.example.test", path = "/small" }\n'
                           'allow.http { host = "other.example.test" }\n')
    log, flow = str(got.audit_path), str(got.told(reason="not_granted")["flow"])
    why = piped(world, "why", flow, "--audit", log, "--policy", "/dev/stdin",
                text='allow.http { host = "api.example.test", path = "/small" } -- here\n')
    assert why.returncode == 0 and '  | allow.http { host = "api.example.test"' in why.stdout, why
    assert "-- here" in why.stdout, why
    none = world.sandboxctl("why", flow, "--audit", log, "--policy", "/nonexistent.lua")
    assert none.code == 1 and "/nonexistent.lua" in none.errors, none
    learnt = piped(world, "policy", "learn", log, "--over", "/dev/stdin",
                   text='allow.http { host = "other.example.test" }\n')
    assert learnt.returncode == 0 and "-- What (pipe) allows is not repeated" in learnt.stdout, learnt
    assert "allow.http {" not in learnt.stdout, learnt
    again = piped(world, "policy", "learn", "/dev/stdin", text=got.audit_path.read_text())
    assert again.returncode == 0 and 'host = "other.example.test"' in again.stdout, again


@test("a policy with a byte order mark, as some editors write, is read and formatted without it")
def _(world):
    file = world.folder_for(0) / "marked.lua"
    file.write_bytes(b'\xef\xbb\xbfallow.http { host="a.example" }\r\n')
    assert world.sandboxctl("policy", "check", str(file)).code == 0
    told = world.sandboxctl("policy", "fmt", str(file))
    assert told.code == 0 and file.read_bytes() == b'allow.http { host = "a.example" }\n', told


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
