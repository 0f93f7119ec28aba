#!/usr/bin/env python3
"""`policy explain` says what the gate then does; `use` allows what a preset's own text says."""

import pathlib

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
    for words in (["icmp", "a.example:7"], ["http", "GET"], ["tcp", "a.example"], ["dns", "a..b"]):
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


@test("a recorded audit log is decided again as it was, and a changed policy's differences are listed")
def _(world):
    lines = "\n".join(f'curl -s -o /dev/null -X {method} "{url}"' for method, url, _ in QUESTIONS
                      if "secretly" not in url)  # The log has no queries.
    got = world.run(lines + "\ncurl -s --connect-timeout 5 http://db.example.test:5432/ || true", policy=POLICY)
    file, audit = got.argv[got.argv.index("-f") + 1], str(got.audit_path)
    same = world.sandboxctl("policy", "test", "--policy", file, "--audit", audit)
    assert same.code == 0 and " 0 different" in same.text, same
    assert int(same.text.split()[0]) >= 10, same
    narrow = pathlib.Path(file).with_name("narrow.lua")
    narrow.write_text('allow.http { host = "api.example.test", method = "GET", path = "/large" }\n')
    differs = world.sandboxctl("policy", "test", "--policy", str(narrow), "--audit", audit)
    assert differs.code == 1, differs
    assert "FAIL  GET https://api.example.test:443/small.txt\n  was allowed by policy.lua:3, is denied" in differs.text, differs
    assert "GET https://api.example.test:443/large\n  was denied by policy.lua:3, is allowed" in differs.text, differs
    diff = world.sandboxctl("policy", "diff", file, str(narrow), "--over", audit)
    assert diff.code == 1 and "- GET https://api.example.test:443/small.txt" in diff.text, diff
    assert "+ GET https://api.example.test:443/large" in diff.text, diff
    assert world.sandboxctl("policy", "diff", file, file, "--over", audit).code == 0


@test("policy fmt writes files in one form, and --check names those that are not in it")
def _(world):
    folder = world.folder_for(0)
    file, link, wrong = folder / "p.lua", folder / "link.lua", folder / "wrong.lua"
    file.write_bytes(b"allow.http {host='api.example.test',\r\nmethod='GET'} -- reads\r\n")
    file.chmod(0o640)
    link.symlink_to("p.lua")
    wrong.write_text("allow.http { host = 'a\n")
    before = file.read_bytes()
    check = world.sandboxctl("policy", "fmt", "--check", str(file))
    assert check.code == 1 and check.text == f"{file}\n" and file.read_bytes() == before, check
    refused = world.sandboxctl("policy", "fmt", str(wrong), str(link))
    assert refused.code == 2 and f"{wrong}: line 1: a string that does not end" in refused.errors, refused
    assert refused.text == f"{link}\n" and link.is_symlink(), refused
    assert file.read_text() == 'allow.http {\n  host = "api.example.test",\n  method = "GET",\n}  -- reads\n', file.read_text()
    assert file.stat().st_mode & 0o7777 == 0o640 and wrong.read_text() == "allow.http { host = 'a\n"
    again = world.sandboxctl("policy", "fmt", "--check", str(file), str(link))
    assert again.code == 0 and again.text == "", again
    assert sorted(p.name for p in folder.iterdir()) == ["link.lua", "p.lua", "wrong.lua"], list(folder.iterdir())


@test("policy test runs the tests of the examples, and tells failures by exit code and line")
def _(world):
    example = pathlib.Path(__file__).resolve().parents[2] / "examples/github-reader/policy_test.lua"
    good = world.sandboxctl("policy", "test", str(example))
    assert good.code == 0 and good.text.endswith(", 0 failed\n"), good
    folder = world.folder_for(0)
    (folder / "p.lua").write_text(POLICY)
    bad = folder / "bad_test.lua"
    bad.write_text('policy "p.lua"\ntest("wrong", function()\n  expect(dns "pypi.org"):refused()\nend)\n')
    failed = world.sandboxctl("policy", "test", str(bad))
    assert failed.code == 1 and f"{bad}:3: expected dns pypi.org to be refused" in failed.text, failed
    bad.write_text('policy "none.lua"\n')
    assert world.sandboxctl("policy", "test", str(bad)).code == 2
    assert world.sandboxctl("policy", "test").code == 2


main(World)
