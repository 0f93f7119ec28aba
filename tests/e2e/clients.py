#!/usr/bin/env python3
"""Ordinary clients, unchanged, talk HTTPS through the gate."""

import hashlib
import os
import pathlib
import shutil
import subprocess

from harness import SLOW, World, main, skip, test
from harness.origin import pattern

POLICY = """
allow.http { host = { "api.example.test", "git.example.test", "static.example.test",
                      "whoami.example.test", "repo.example.test" } }
"""
MIB = 1 << 20
BULK = (20 if SLOW else 100) * MIB


def run(world, command, **more):
    return world.run(command, policy=POLICY, **more).expect(0)


def needs(program):
    # What a guest can run: root's own additions to PATH are not in it.
    if not shutil.which(program, path="/usr/bin:/bin:/usr/local/bin"):
        skip(f"no {program}")


# A bare client: nothing that the gate put into the environment tells it whom to trust.
BARE = "env -i PATH=/usr/bin:/bin "


@test("curl gets a page")
def _(world):
    assert run(world, "curl -sS https://api.example.test/small").text == "small\n"


@test("curl gets a page over HTTP/1.1 and without TLS")
def _(world):
    assert run(world, "curl -sS --http1.1 https://api.example.test/small").text == "small\n"
    assert run(world, "curl -sS http://api.example.test/small").text == "small\n"


@test("curl trusts the gate without any environment")
def _(world):
    assert run(world, BARE + "curl -sS https://api.example.test/small").text == "small\n"


@test("the guest sees a certificate of the gate's own, not the server's")
def _(world):
    shown = run(world, "openssl s_client -connect api.example.test:443 "
                       "-servername api.example.test </dev/null 2>/dev/null | "
                       "openssl x509 -noout -subject -issuer -ext subjectAltName").text
    assert "Test Root" not in shown, shown
    assert "DNS:api.example.test" in shown, shown


@test("curl posts 1 MiB")
def _(world):
    got = run(world, "head -c 1048576 /dev/zero | curl -sS --data-binary @- "
                     "https://whoami.example.test/sha256").text.strip()
    assert got == hashlib.sha256(bytes(MIB)).hexdigest()


@test("curl sends a body of unknown length")
def _(world):
    got = run(world, "head -c 300000 /dev/zero | curl -sS -T - "
                     "https://whoami.example.test/sha256").text.strip()
    assert got == hashlib.sha256(bytes(300000)).hexdigest()


@test("curl reads a chunked answer")
def _(world):
    got = run(world, "curl -sS https://whoami.example.test/chunks/1000").text
    assert got == "".join("%09d\n" % i for i in range(1000))


@test("HEAD answers a length and no body")
def _(world):
    got = run(world, "curl -sS -I https://whoami.example.test/bytes/12345").text
    assert "content-length: 12345" in got.lower(), got


@test("statuses pass through unchanged")
def _(world):
    for status in (204, 301, 404, 418, 500, 503):
        got = run(world, f"curl -sS -o /dev/null -w '%{{http_code}}' "
                         f"https://whoami.example.test/status/{status}").text
        assert got == str(status), got


@test("a large download arrives whole")
def _(world):
    (world.nginx.root / "bulk").write_bytes(pattern(BULK))
    got = run(world, "curl -sS https://static.example.test/bulk | sha256sum", timeout=120).text
    assert got.split()[0] == hashlib.sha256(pattern(BULK)).hexdigest()


@test("a large upload arrives whole")
def _(world):
    got = run(world, f"head -c {BULK} /dev/zero | curl -sS -T - "
                     "https://whoami.example.test/sha256", timeout=120).text.strip()
    digest = hashlib.sha256()
    for _ in range(BULK // MIB):
        digest.update(bytes(MIB))
    assert got == digest.hexdigest()


@test("a thousand requests share one connection")
def _(world):
    got = world.python("""
import http.client
connection = http.client.HTTPSConnection("whoami.example.test")
connection.connect()
socket = connection.sock
for i in range(1000):
    connection.request("GET", f"/n/{i}")
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200 and body == b"hello /n/%d\\n" % i, (answer.status, body)
    assert connection.sock is socket, f"a new connection at request {i}"
print("done")
""", policy=POLICY, timeout=120).expect(0)
    assert got.text == "done\n"


@test("a hundred connections at once")
def _(world):
    got = world.python("""
import http.client, threading
barrier, good = threading.Barrier(100), []
def one():
    connection = http.client.HTTPSConnection("api.example.test", timeout=60)
    connection.connect()
    barrier.wait(120)
    for _ in range(5):
        connection.request("GET", "/kib")
        if connection.getresponse().read() == b"k" * 1024:
            good.append(1)
threads = [threading.Thread(target=one) for _ in range(100)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(good))
""", policy=POLICY, timeout=180).expect(0)
    assert got.text == "500\n", got


@test("an answer that comes slowly is streamed, not held back")
def _(world):
    def drip(request, connection):
        if request.path != "/drip":
            return False
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           b"Transfer-Encoding: chunked\r\n\r\n7\r\nfirst\n\n\r\n")
        gate.wait(60)   # The second event is sent only after the guest has seen the first.
        connection.sendall(b"8\r\nsecond\n\n\r\n0\r\n\r\n")
        return True
    import threading
    gate = threading.Event()
    world.origin.handler = drip
    try:
        running = world.start(["curl", "-sSN", "https://whoami.example.test/drip"], policy=POLICY)
        first = running.process.stdout.readline()
        gate.set()
        rest = running.finish().expect(0).text
    finally:
        gate.set()
        world.origin.handler = None
    assert first == b"first\n" and "second" in rest, (first, rest)


@test("python's urllib gets and posts")
def _(world):
    code = ("import urllib.request as u\n"
            "print(u.urlopen('https://api.example.test/small').read())\n"
            "print(u.urlopen('https://whoami.example.test/echo', data=b'x' * 10).read())\n")
    assert world.python(code, policy=POLICY).expect(0).text == "b'small\\n'\nb'xxxxxxxxxx'\n"


@test("python trusts the gate without any environment, strictly")
def _(world):
    code = ("import ssl, urllib.request as u; c = ssl.create_default_context(); "
            "c.verify_flags |= ssl.VERIFY_X509_STRICT; "
            "print(u.urlopen('https://api.example.test/small', context=c).read())")
    got = run(world, ["env", "-i", "/usr/bin/python3", "-c", code])
    assert got.text == "b'small\\n'\n"


NODE = "fetch('https://api.example.test/small').then(r => r.text()).then(t => process.stdout.write(t))"


@test("node's fetch gets a page")
def _(world):
    needs("node")
    assert run(world, ["node", "-e", NODE]).text == "small\n"


@test("node without any environment trusts the gate only if it reads the system's store")
def _(world):
    # A node that was linked with the distribution's OpenSSL reads its store; one with an OpenSSL of
    # its own has its roots compiled in and needs NODE_EXTRA_CA_CERTS (docs/trust.md).
    needs("node")
    shared = subprocess.run(["/usr/bin/node", "-p", "process.config.variables.node_shared_openssl"],
                            capture_output=True, text=True, check=False).stdout.strip() == "true"
    if not shared:
        got = world.run(["env", "-i", "/usr/bin/node", "-e", NODE], policy=POLICY)
        assert got.code != 0 and "fetch failed" in got.errors, got
        got = run(world, ["env", "-i", "/usr/bin/node", "--use-openssl-ca", "-e", NODE])
    else:
        got = run(world, ["env", "-i", "/usr/bin/node", "-e", NODE])
    assert got.text == "small\n"


@test("wget gets a page, also without any environment")
def _(world):
    needs("wget")
    for prefix in ("", BARE):
        assert run(world, prefix + "wget -qO- https://api.example.test/small").text == "small\n"


@test("openssl s_client verifies the gate and speaks TLS 1.2 and 1.3")
def _(world):
    for version in ("-tls1_2", "-tls1_3"):
        got = run(world, f"printf 'GET /small HTTP/1.1\\r\\nHost: api.example.test\\r\\n"
                         f"Connection: close\\r\\n\\r\\n' | openssl s_client -quiet {version} "
                         f"-verify_return_error -verify_hostname api.example.test "
                         f"-servername api.example.test -connect api.example.test:443 2>/dev/null")
        assert got.text.endswith("small\n"), got


@test("the gate takes AES-128 where a client likes AES-256 more, and what else a client insists on")
def _(world):
    if " aes " not in pathlib.Path("/proc/cpuinfo").read_text():
        skip("a CPU that does AES")
    both = {"-tls1_3": ("-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
            "-tls1_2": ("-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256")}
    for version, (option, long, short) in both.items():
        for offered, taken in ((f"{long}:{short}", short), (long, long)):
            shown = run(world, f"openssl s_client {version} {option} {offered} "
                               f"-connect api.example.test:443 -servername api.example.test "
                               f"</dev/null 2>/dev/null").text
            assert f"Cipher is {taken}" in shown, (version, offered, shown)


def repository(world):
    """A bare repository with one commit, below the origin's and nginx's folders."""
    bare = world.folder / "repositories" / "one.git"
    if bare.exists():
        return bare
    work = world.folder / "one"
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.test",
                "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.test"}

    def git(*arguments, cwd=None):
        subprocess.run(["git", "-c", "init.defaultBranch=main", *arguments], cwd=cwd, check=True,
                       env={**os.environ, **identity}, capture_output=True)
    git("init", str(work))
    (work / "file").write_bytes(os.urandom(300_000))
    git("add", "file", cwd=work)
    git("commit", "-m", "one", cwd=work)
    git("clone", "--bare", str(work), str(bare))
    git("update-server-info", cwd=bare)
    git("config", "http.receivepack", "true", cwd=bare)
    shutil.copytree(bare, pathlib.Path(world.nginx.root) / "one.git")
    world.origin.git_root = bare.parent
    return bare


@test("the gate stays trusted when the distribution's tool writes the bundles anew")
def _(world):
    code = ("command -v update-ca-certificates >/dev/null || exit 77\n"
            "update-ca-certificates >/dev/null 2>&1\n"
            "exec env -i /usr/bin/curl -sS -o /dev/null -w '%{http_code}' https://api.example.test/small")
    got = world.run(code, policy=POLICY)
    if got.code != 77:
        assert got.expect(0).text == "200", got


@test("git clones a repository of plain files")
def _(world):
    repository(world)
    got = run(world, "cd /tmp && git clone -q https://git.example.test/one.git && "
                     "sha256sum <one/file")
    expected = hashlib.sha256((world.folder / "one" / "file").read_bytes()).hexdigest()
    assert got.text.split()[0] == expected


@test("git clones and pushes with the smart protocol, with a secret for its password")
def _(world):
    bare = repository(world)
    world.origin.git_password = "real-password-0123456789"
    try:
        got = world.run(
            "cd /tmp && export GIT_TERMINAL_PROMPT=0 && "
            "git clone -q https://x-access-token:$GIT_TOKEN@repo.example.test/git/one.git && "
            "cd one && git config user.name g && git config user.email g@example.test && "
            "git checkout -q -b from-the-guest && head -c 2000000 /dev/urandom >more && "
            "git add more && git commit -q -m two && git push -q origin from-the-guest && "
            "grep -c real-password .git/config",
            policy=POLICY, options=["--secret", "GIT_TOKEN@repo.example.test"],
            env={"GIT_TOKEN": world.origin.git_password}, timeout=120)
    finally:
        world.origin.git_password = None
    assert got.text == "0\n", got  # The last grep finds nothing.
    branches = subprocess.run(["git", "-C", str(bare), "branch"], capture_output=True, text=True,
                              check=True).stdout
    assert "from-the-guest" in branches, got


@test("the audit log tells every request with its method, path, status and bytes")
def _(world):
    got = run(world, "curl -sS -X POST -d abc https://whoami.example.test/echo?query=hidden")
    record = got.told(name="whoami.example.test", method="POST", path="/echo")
    assert record["verdict"] == "allow" and record["reason"] == "allowed", record
    assert record["status"] == 200 and record["port"] == 443, record
    assert record["transport"] == "https", record
    assert record["rule"].endswith("policy.lua:2"), record
    assert "hidden" not in got.audit_path.read_text()


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
