#!/usr/bin/env python3
"""Clients that were told to use a proxy: the gateway's port 3128 decides as if they had connected."""

import json
import shutil
import subprocess

from harness import World, main, skip, test

PROXY = "http://10.0.2.2:3128"
PROXY_V6 = "http://[fd00:5a11::2]:3128"
VALUE = "ghp_R3alT0kenValue/ThroughTheProxy+012345"
POLICY = """
allow.http { host = { "api.example.test", "whoami.example.test", "second.example.test" } }
allow.http { host = "repo.example.test", method = { "GET", "POST" } }
allow.tcp { host = "third.example.test", port = 80 }
allow.tcp { host = "nobody.example.test", port = 81 }
allow.tcp { ip = "11.0.0.81", port = 8443 }
allow.tcp { ip = "10.0.0.0/8", port = { 53, 80, 3128 } }
allow.tcp { ip = "127.0.0.0/8", port = { 80, 3128, 8000 } }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
CURL = f"curl -sS -x {PROXY} "
# Prints the answer to a CONNECT, with its body.
CONNECT = r"""
import socket, sys
s = socket.create_connection(("10.0.2.2", 3128), timeout=20)
target = sys.argv[1]
s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
s.settimeout(20)
answer = b""
while piece := s.recv(65536):
    answer += piece
    if answer.startswith(b"HTTP/1.1 200"):
        break
sys.stdout.write(answer.decode())
"""


def run(world, command, **more):
    world.origin.forget()
    world.forbidden.forget()
    return world.run(command, policy=POLICY, env={"API_TOKEN": VALUE}, **more)


def ask(world, target):
    """The status, the problem and the result of a CONNECT to TARGET."""
    world.origin.forget()
    got = world.python(CONNECT, target, policy=POLICY, env={"API_TOKEN": VALUE}).expect(0)
    head, _, body = got.text.partition("\r\n\r\n")
    return int(head.split(" ")[1]), json.loads(body) if body else {}, got


def only_request(world):
    assert len(world.origin.requests) == 1, [r.raw for r in world.origin.requests]
    return world.origin.requests[0]


@test("curl -x gets a page over HTTPS, with the token swapped, and over either family")
def _(world):
    for proxy in (PROXY, PROXY_V6):
        got = run(world, f'curl -sS -x {proxy} -H "Authorization: Bearer $API_TOKEN" '
                         "https://whoami.example.test/hello").expect(0)
        assert got.text == "hello /hello\n", got
        assert only_request(world).all("authorization") == [f"Bearer {VALUE}"]
        record = got.told(name="whoami.example.test", transport="https", verdict="allow")
        assert record["secrets"] == ["API_TOKEN"], record


@test("curl -x gets pages of two hosts over plain HTTP, without the fields meant for the proxy")
def _(world):
    got = run(world, CURL + '-U "me:$API_TOKEN" -H "Proxy-Connection: keep-alive" '
                     "http://whoami.example.test/a http://second.example.test/b").expect(0)
    assert got.text == "hello /a\nhello /b\n", got
    assert [r.get("host") for r in world.origin.requests] == ["whoami.example.test",
                                                              "second.example.test"]
    for request in world.origin.requests:
        assert "proxy" not in request.raw.decode("latin-1").lower(), request.raw
        assert request.target.startswith("/"), request.raw
    assert got.told(name="second.example.test", transport="http", verdict="allow")["path"] == "/b"


@test("the environment's proxy is used by Python and wget")
def _(world):
    environment = f"HTTPS_PROXY={PROXY} HTTP_PROXY={PROXY} https_proxy={PROXY} http_proxy={PROXY} "
    for scheme in ("https", "http"):
        got = run(world, environment + "python3 -c 'import sys, urllib.request as u; "
                         f"sys.stdout.write(u.urlopen(\"{scheme}://whoami.example.test/p\")"
                         ".read().decode())'").expect(0)
        assert got.text == "hello /p\n", got
    if shutil.which("wget", path="/usr/bin:/bin"):
        got = run(world, environment + "wget -q -O - https://whoami.example.test/w").expect(0)
        assert got.text == "hello /w\n", got


@test("git clones through the proxy")
def _(world):
    if not shutil.which("git", path="/usr/bin:/bin"):
        skip("no git")
    work, bare = world.folder / "work", world.folder / "repositories" / "one.git"

    def git(*arguments, cwd=None):
        subprocess.run(["git", "-c", "init.defaultBranch=main", "-c", "user.name=t", "-c",
                        "user.email=t@example.test", *arguments], cwd=cwd, check=True,
                       stdout=subprocess.DEVNULL)
    git("init", str(work))
    (work / "file").write_text("content\n")
    git("add", "file", cwd=work)
    git("commit", "-m", "one", cwd=work)
    git("clone", "--bare", str(work), str(bare))
    world.origin.git_root = bare.parent
    try:
        got = run(world, f"cd /tmp && HTTPS_PROXY={PROXY} git clone -q "
                         "https://repo.example.test/git/one.git && cat one/file").expect(0)
        assert got.text == "content\n", got
    finally:
        world.origin.git_root = None


@test("a tunnel that no rule grants is refused on the CONNECT itself, and nothing is resolved")
def _(world):
    status, problem, got = ask(world, "evil.example.test:443")
    assert status == 403 and problem["type"] == "urn:sallyport:name_not_granted", got
    assert "evil.example.test" in problem["how_to_allow"], problem
    record = got.told(name="evil.example.test", method="CONNECT", verdict="deny")
    assert record["status"] == 403 and record["port"] == 443, record
    assert world.dns.queries("evil.example.test") == []
    status, problem, got = ask(world, "whoami.example.test:22")
    assert status == 403 and problem["type"] == "urn:sallyport:not_granted", got


@test("curl tells of the refusal's status")
def _(world):
    got = run(world, CURL + "https://evil.example.test/")
    assert got.code == 56 and "403" in got.errors, got


@test("a tunnel of raw TCP carries what a connection would")
def _(world):
    got = run(world, CURL + "-p http://third.example.test/raw").expect(0)
    assert got.text == "hello /raw\n", got
    record = got.told(name="third.example.test", transport="tcp", verdict="allow")
    assert record["bytes_up"] > 0 and record["bytes_down"] > 0, record
    got = run(world, CURL + "-p -k https://11.0.0.81:8443/literal").expect(0)
    assert got.text == "hello /literal\n", got
    # As a request it can't be examined, so it is not sent.
    got = run(world, CURL + "-w '%{http_code}' -o /dev/null http://third.example.test/raw").expect(0)
    assert got.text == "403" and world.origin.requests == [], got


@test("a tunnel to a host whose TLS is passed through shows the server's own certificate")
def _(world):
    policy = """
allow.http { host = "selfsigned.example.test", tls = "passthrough" }
allow.http { host = "whoami.example.test" }
"""
    got = world.run(CURL + "-kv https://selfsigned.example.test/small 2>&1", policy=policy).expect(0)
    assert "self-signed" in got.text or "self signed" in got.text, got
    record = got.told(name="selfsigned.example.test", transport="https", verdict="allow")
    assert record["bytes_up"] > 0 and record["bytes_down"] > 0 and "path" not in record, record
    # The name inside must be the tunnel's.
    got = world.run(CURL + "-k --connect-to evil.example.test:443:selfsigned.example.test:443 "
                    "https://evil.example.test/", policy=policy)
    assert got.code == 35, got  # CURLE_SSL_CONNECT_ERROR
    assert "evil.example.test" in got.told(reason="host_mismatch")["detail"], got
    got = world.run(CURL + "https://selfsigned.example.test/small", policy=policy)
    assert got.code == 60, got  # CURLE_PEER_FAILED_VERIFICATION: the server's is not trusted.


@test("a server that can't be reached is a 502 on the CONNECT")
def _(world):
    status, problem, got = ask(world, "nobody.example.test:81")
    assert status == 502 and problem["type"] == "urn:sallyport:upstream_refused", got


@test("a TLS name other than the tunnel's is a 421")
def _(world):
    got = run(world, CURL + "-w '%{http_code}' -o /dev/null --connect-to "
                     "whoami.example.test:443:second.example.test:443 "
                     "https://whoami.example.test/").expect(0)
    assert got.text == "421" and world.origin.requests == [], got


@test("no tunnel leads to the gate, to loopback or to metadata, whatever the rules say")
def _(world):
    for target in ("10.0.2.2:3128", "10.0.2.2:53", "[fd00:5a11::2]:3128", "[::ffff:10.0.2.2]:3128",
                   "127.0.0.1:8000", "0x7f.1:8000", "[::ffff:127.0.0.1]:8000", "[::1]:8000",
                   "localhost:3128", "169.254.169.254:80"):
        status, problem, got = ask(world, target)
        assert status in (403, 502), (target, got)
        assert problem["type"].rpartition(":")[2] in ("address_refused", "not_granted",
                                                      "name_not_granted"), (target, problem)
    assert world.forbidden.requests == []
    # Nor does the gateway have other ports for a plain connection.
    got = world.python("""
import socket
for port in (80, 8080):
    try:
        socket.create_connection(("10.0.2.2", port), timeout=10)
        print("open", port)
    except ConnectionRefusedError:
        print("refused")
""", policy=POLICY, env={"API_TOKEN": VALUE}).expect(0)
    assert got.text == "refused\nrefused\n", got


@test("a request for the proxy itself is refused")
def _(world):
    got = run(world, CURL + "-w '%{http_code}' -o /dev/null http://10.0.2.2:3128/").expect(0)
    assert got.text == "403", got
    got = run(world, f"curl -sS {PROXY}/").expect(0)
    assert json.loads(got.text)["status"] == 400, got


@test("nothing in the guest's environment names the proxy")
def _(world):
    got = run(world, "env | grep -ci proxy", ).text
    assert got == "0\n", got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
