#!/usr/bin/env python3
"""`policy explain` says what the gate then does; `use` allows what a preset's own text says."""

from harness import World, main, test

POLICY = """
use "pypi"
allow.http { host = "api.example.test", method = "GET", path = "/small*", otherwise = "small things only" }
on.request("api.example.test", function(req)
  if req.query == "secretly" then return req:deny { status = 403, reason = "not so" } end
end)
"""

# What is asked; whether it is allowed.
QUESTIONS = [
    ("GET", "https://api.example.test/small.txt", True),
    ("GET", "http://api.example.test/small.txt", True),
    ("GET", "https://api.example.test/large", False),
    ("POST", "https://api.example.test/small.txt", False),
    ("GET", "https://api.example.test/small.txt?secretly", False),
    ("GET", "https://git.example.test/", False),
    ("GET", "https://pypi.org/simple/requests/", True),
    ("GET", "https://pypi.org/manage/account/", False),
    ("POST", "https://pypi.org/simple/requests/", False),
    ("GET", "https://upload.pypi.org/legacy/", False),
]


@test("policy explain and the gate agree, and a refusal names the same rule")
def _(world):
    lines = "\n".join(f'curl -s -o /tmp/body -w "%{{http_code}} " -X {method} "{url}"; '
                      f'grep -o \'"rule": "[^"]*"\' /tmp/body || echo' for method, url, _ in QUESTIONS)
    got = world.run(lines, policy=POLICY)
    file = got.argv[got.argv.index("-f") + 1]
    assert got.text.count("\n") == len(QUESTIONS), got
    for (method, url, allowed), line in zip(QUESTIONS, got.text.splitlines()):
        status, _, rule = line.partition(" ")
        # Which file a server has is its own affair; 403 is the gate's alone here.
        assert (status != "403") == allowed, f"{method} {url}: {line}\n{got}"
        explained = world.sandboxctl("policy", "explain", file, "http", method, url)
        assert explained.code == (0 if allowed else 1), explained
        assert explained.text.startswith("allowed" if allowed else "denied"), explained
        if rule:
            assert rule.split('"')[3] in explained.text, (rule, explained)


@test("policy explain asks nobody, and says what is wrong with a question or a file")
def _(world):
    world.dns.forget()
    got = world.run("true", policy=POLICY)
    file = got.argv[got.argv.index("-f") + 1]
    unlisted = world.sandboxctl("policy", "explain", file, "http", "GET", "https://evil.example.com/")
    assert unlisted.code == 1 and 'allow.http { host = "evil.example.com" }' in unlisted.text, unlisted
    assert world.dns.queries() == [], world.dns.queries()
    for words in (["icmp", "a.example"], ["http", "GET"], ["tcp", "a.example"], ["dns", "a..b"]):
        wrong = world.sandboxctl("policy", "explain", file, *words)
        assert wrong.code == 2 and wrong.errors, wrong
    missing = world.sandboxctl("policy", "explain", file + ".none", "dns", "a.example")
    assert missing.code == 2 and ".none" in missing.errors, missing


@test("policy preset shows what use stands for")
def _(world):
    listed = world.sandboxctl("policy", "preset")
    assert listed.code == 0 and "npm@1" in listed.text.split(), listed
    shown = world.sandboxctl("policy", "preset", "pypi")
    assert shown.code == 0 and 'host = "pypi.org"' in shown.text, shown
    unknown = world.sandboxctl("policy", "preset", "pipy")
    assert unknown.code == 2 and "pypi@1" in unknown.errors, unknown


main(World)
