#!/usr/bin/env python3
"""git over HTTPS through the gate: real git in sandboxes, git http-backend behind nginx outside."""

import base64
import os
import subprocess

from harness import World, main, test
from harness.nginx import Nginx
from harness.origin import Origin
from harness.secrecy import found_nothing, searching, unseen

TOKEN = "ghp_R3alT0kenForGit0123456789abcdefghij"
POLICY = """
allow.http { host = { "code.example.test", "repo.example.test" } }
secret "GIT_TOKEN" { from = env "GIT_TOKEN", hosts = { "code.example.test", "repo.example.test" } }
"""
BASIC = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
IDENTITY = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "t"), ("EMAIL", "t@example.test"))}
# nginx speaks HTTP/2 and hands every piece on as it comes.
FRONT = """
    location /git/ {
      proxy_pass http://11.0.0.85:%d; proxy_http_version 1.1;
      proxy_request_buffering off; proxy_buffering off;
    }
"""
# How a guest may hold its password: in the URL, or in a helper that git asks.
BY_URL = "https://x-access-token:$GIT_TOKEN@"
BY_HELPER = "https://"
SETUP = """
export GIT_TERMINAL_PROMPT=0 HOME=/tmp GIT_TRACE_CURL=/tmp/trace
git config --global user.name g && git config --global user.email g@example.test
git config --global http.version %s
git config --global credential.helper \
  '!f() { test "$1" = get && echo username=x-access-token && echo "password=$GIT_TOKEN"; }; f'
"""


def git(*arguments, cwd=None):
    done = subprocess.run(["git", "-c", "init.defaultBranch=main", *arguments], cwd=cwd, check=True,
                          env={**os.environ, **IDENTITY}, capture_output=True, text=True)
    return done.stdout


def served(world):
    """The folder of bare repositories, which code.example.test and repo.example.test serve."""
    if hasattr(world, "served"):
        return world.served
    folder = world.folder / "repositories"
    folder.mkdir()
    backend = Origin([("11.0.0.85", 0)])
    world.origin.git_root = backend.git_root = folder
    world.origin.git_password = backend.git_password = TOKEN
    address = "11.0.0.90"
    subprocess.run(["ip", "addr", "replace", f"{address}/32", "dev", "lo"], check=True)
    certificate = world.ca.issue("code", ["code.example.test"])
    world.dns.zone["code.example.test"] = [address]
    world.front = Nginx(world.folder / "front", [(address, 443, certificate)],
                        FRONT % backend.ports[0])
    world.backend = backend
    world.served = folder
    return folder


def repository(world, name, commits=1):
    """A bare repository with COMMITS commits on the branch main."""
    folder = served(world)
    work = world.folder / f"work-{name}"
    git("init", str(work))
    (work / "file").write_bytes(os.urandom(300_000))
    git("add", "file", cwd=work)
    git("commit", "-m", "one", cwd=work)
    if commits > 1:
        stream = "".join(f"commit refs/heads/main\ncommitter t <t@example.test> {1700000000 + i} +0000\n"
                         f"data 1\n{i % 10}\n" + ("from refs/heads/main^0\n" if i == 1 else "")
                         for i in range(1, commits))
        subprocess.run(["git", "fast-import", "--quiet"], cwd=work, input=stream.encode(), check=True)
    bare = folder / f"{name}.git"
    git("clone", "--bare", str(work), str(bare))
    git("config", "http.receivepack", "true", cwd=bare)
    return bare


def forget(world):
    world.origin.forget()
    world.backend.forget()


def run(world, script, version="HTTP/2", **more):
    forget(world)
    return world.run(searching(f"exec 3>&1 >&2; {{ set -e; {SETUP % version} cd /tmp\n{script}\n}} >&3"
                               " || exit 99; exec >&3", TOKEN),
                     policy=POLICY, env={"GIT_TOKEN": TOKEN}, timeout=120, **more).expect(0)


def posts(server, service):
    return [r for r in server.requests if r.method == "POST" and r.path.endswith(service)]


@test("git clones, fetches and pushes over HTTP/2 and HTTP/1.1, with its password from a helper or a URL")
def _(world):
    for host, version, kind in (("code", "HTTP/2", "2"), ("code", "HTTP/1.1", "1.1"),
                                ("repo", "HTTP/2", "1.1")):
        for number, at in enumerate((BY_URL, BY_HELPER)):
            name = f"{host}-{kind[0]}-{number}-{version[-1]}"
            bare = repository(world, name)
            got = run(world, f"""
git clone -q {at}{host}.example.test/git/{name}.git one
cd one
git checkout -q -b from-the-guest
echo more >more; git add more; git commit -q -m more
git push -q origin from-the-guest
git fetch -q origin main
git rev-parse FETCH_HEAD origin/from-the-guest HEAD
grep -c 'HTTP/{kind} 200' /tmp/trace >&2
""", version)
            head = git("rev-parse", "from-the-guest", cwd=bare).strip()
            main_head = git("rev-parse", "main", cwd=bare).strip()
            assert found_nothing(got, TOKEN) == [main_head, head, head], got
            server = world.backend if host == "code" else world.origin
            credentials = {r.get("authorization") for r in server.requests}
            assert credentials <= {None, BASIC} and BASIC in credentials, credentials


@test("a push of more than one buffer goes in chunks, and arrives whole")
def _(world):
    for version in ("HTTP/2", "HTTP/1.1"):
        for host in ("code", "repo"):
            name = f"big-{host}-{version[-1]}"
            bare = repository(world, name)
            got = run(world, f"""
git clone -q {BY_HELPER}{host}.example.test/git/{name}.git one
cd one
head -c 8000000 /dev/urandom >big; git add big; git commit -q -m big
git push -q origin HEAD:refs/heads/big
sha256sum <big
""", version)
            kept = subprocess.run(["git", "cat-file", "blob", "big:big"], cwd=bare, check=True,
                                  capture_output=True).stdout
            summed = subprocess.run(["sha256sum"], input=kept, check=True, capture_output=True)
            assert found_nothing(got, TOKEN) == [summed.stdout.decode().strip()], got
            server = world.backend if host == "code" else world.origin
            last = posts(server, "git-receive-pack")[-1]
            assert last.get("transfer-encoding") == "chunked", last.raw
            assert len(last.body) > 8_000_000 and last.get("authorization") == BASIC


@test("a fetch that compresses its request is understood")
def _(world):
    bare = repository(world, "old", commits=3000)
    # A clone that has many branches tells many commits that it has, which git compresses.
    git("branch", "-m", "main", "base", cwd=bare)
    commits = git("rev-list", "base", cwd=bare).split()
    refs = "".join(f"create refs/heads/b{i} {commit}\n" for i, commit in enumerate(commits[1:600]))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=bare, input=refs.encode(), check=True)
    got = run(world, f"""
git clone -q {BY_HELPER}code.example.test/git/old.git one
cd one
git log --format=%H origin/base | wc -l
""")
    assert found_nothing(got, TOKEN) == ["3000"], got
    kinds = {r.get("content-encoding") for r in posts(world.backend, "git-upload-pack")}
    assert "gzip" in kinds, kinds


@test("a token that the server refuses leaves git with the server's refusal, not with the gate's")
def _(world):
    repository(world, "closed")
    world.backend.git_password = "another-password"
    try:
        got = world.run(f"{SETUP % 'HTTP/2'} git clone -q {BY_HELPER}code.example.test/git/closed.git "
                        "/tmp/one", policy=POLICY, env={"GIT_TOKEN": TOKEN})
    finally:
        world.backend.git_password = TOKEN
    assert got.code == 128 and "Authentication failed" in got.errors, got
    unseen(got, TOKEN)


@test("a repository that the policy lets be read only can be cloned, and a push is refused in words")
def _(world):
    bare = repository(world, "read")
    policy = POLICY.replace("allow.http {", """
allow.http { host = "code.example.test", path = { "/git/*/info/refs", "/git/*/git-upload-pack" },
             otherwise = "this agent only reads" }
allow.http {""")
    got = world.run(f"""{SETUP % 'HTTP/2'} cd /tmp; set -e
git clone -q {BY_HELPER}code.example.test/git/read.git one
cd one; echo more >more; git add more; git commit -q -m more
git push -q origin HEAD:refs/heads/more""", policy=policy, env={"GIT_TOKEN": TOKEN})
    assert got.code != 0 and "403" in got.errors, got
    assert "more" not in git("branch", cwd=bare)
    unseen(got, TOKEN)


# Sends the head of a request, waits for 100 as long as it takes, then sends the body.
EXPECTING = r"""
import http.client, os, ssl, sys
host, path = sys.argv[1:3]
connection = http.client.HTTPSConnection(host)
connection.putrequest("POST", path)
connection.putheader("Authorization", "Bearer " + os.environ["GIT_TOKEN"])
connection.putheader("Content-Length", "100000")
connection.putheader("Expect", "100-continue")
connection.endheaders()
stream = connection.sock.makefile("rb")
status = int(stream.readline().split()[1])
while stream.readline() != b"\r\n": pass
print(status)
if status == 100:
    connection.sock.sendall(b"x" * 100000)
    print(int(stream.readline().split()[1]))
"""


@test("a client that waits for 100 before it sends a body gets it, or a refusal instead of it")
def _(world):
    served(world)
    policy = POLICY + 'deny.http { host = "other.example.test", reason = "never" }\n'
    for host, path, expected in (("repo.example.test", "/echo", "100\n200\n"),
                                 ("code.example.test", "/git/x", "100\n401\n"),
                                 ("other.example.test", "/echo", "403\n")):
        forget(world)
        got = world.python(EXPECTING, host, path, policy=policy, env={"GIT_TOKEN": TOKEN}).expect(0)
        assert got.text == expected, got
        unseen(got, TOKEN)


@test("nothing is left behind")
def _(world):
    if hasattr(world, "front"):
        world.front.close()
        world.backend.close()
    world.nothing_left()


main(World)
