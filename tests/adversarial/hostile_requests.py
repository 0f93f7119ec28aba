#!/usr/bin/env python3
"""Requests that two parsers read differently, from inside a sandbox: no server sees a second reading."""

import json
import re

from harness import World, main, patience, test

POLICY = """
allow.http { host = "whoami.example.test", path = "/ok/**", otherwise = "only /ok" }
allow.http { host = "other.example.test", path = "/ok/**" }
secret "TOKEN" { from = env "TOKEN", hosts = { "whoami.example.test" },
                 inject = { authorization = "Bearer {}" } }
"""
VALUE = "adversarial-value-0123456789"

# Sends each of the requests that it is given (hex, one a line) on a connection of its own, and prints what came back.
SEND = r"""
import json, socket, ssl, sys, time
context = ssl.create_default_context()
results = []
for text in sys.stdin:
    began = time.monotonic()
    raw = socket.create_connection(("whoami.example.test", 443 if sys.argv[1] == "tls" else 80), timeout=20)
    s = context.wrap_socket(raw, server_hostname="whoami.example.test") if sys.argv[1] == "tls" else raw
    answer = b""
    try:
        s.sendall(bytes.fromhex(text.strip()))
        s.settimeout(5)
        while len(answer) < 100000:
            piece = s.recv(65536)
            if not piece:
                break
            answer += piece
            if b"\r\n\r\n" in answer:  # What else may come, comes now.
                s.settimeout(1)
    except TimeoutError:
        answer += b"[open]"
    except OSError as why:
        answer += b"[reset]"
    s.close()
    results.append([answer.decode("latin-1"), time.monotonic() - began])
print(json.dumps(results))
"""

HEAD = "POST /ok/{} HTTP/1.1\r\nHost: whoami.example.test\r\n"
SECOND = "GET /smuggled HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n"

# Name -> request. None of them may reach a server as it stands.
REFUSED = {
    "both lengths": HEAD + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "both lengths, reversed": HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SECOND,
    "two different lengths": HEAD + "Content-Length: 0\r\nContent-Length: 60\r\n\r\n" + SECOND,
    "a list of lengths": HEAD + "Content-Length: 0, 60\r\n\r\n" + SECOND,
    "a signed length": HEAD + "Content-Length: +5\r\n\r\nhello" + SECOND,
    "a negative length": HEAD + "Content-Length: -1\r\n\r\n" + SECOND,
    "a hexadecimal length": HEAD + "Content-Length: 0x5\r\n\r\nhello" + SECOND,
    "an endless length": HEAD + "Content-Length: 99999999999999999999999\r\n\r\n" + SECOND,
    "an unknown coding": HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a coding that is not last": HEAD + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
    "two codings": HEAD + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a coding with a tab inside": HEAD + "Transfer-Encoding: chun\tked\r\n\r\n0\r\n\r\n" + SECOND,
    "a space before the colon": HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a folded line": HEAD + "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + SECOND,
    "a line feed alone": HEAD + "X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a carriage return alone": HEAD + "X-A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "a zero byte in a value": HEAD + "X-A: b\0c\r\n\r\n",
    "a zero byte in a name": HEAD + "X-\0A: b\r\n\r\n",
    "a field without a colon": HEAD + "X-A\r\n\r\n",
    "no host": "GET /ok/x HTTP/1.1\r\n\r\n",
    "two hosts": HEAD + "Host: other.example.test\r\n\r\n",
    "the same host twice": HEAD + "Host: whoami.example.test\r\n\r\n",
    "another host": "GET /ok/x HTTP/1.1\r\nHost: other.example.test\r\n\r\n",
    "a host with a user": "GET /ok/x HTTP/1.1\r\nHost: x@whoami.example.test\r\n\r\n",
    "a host with a path": "GET /ok/x HTTP/1.1\r\nHost: whoami.example.test/evil\r\n\r\n",
    "a host with a zero byte": "GET /ok/x HTTP/1.1\r\nHost: whoami.example.test\0.evil\r\n\r\n",
    "another host in the target":
        "GET http://other.example.test/ok/x HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a user in the target":
        "GET https://whoami.example.test@other.example.test/ok/x HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a tunnel": "CONNECT whoami.example.test:443 HTTP/1.1\r\nHost: whoami.example.test:443\r\n\r\n",
    "a trace": "TRACE /ok/x HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "version 0.9": "GET /ok/x\r\n\r\n",
    "version 2.0 by name": "GET /ok/x HTTP/2.0\r\nHost: whoami.example.test\r\n\r\n",
    "a preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a target with a space": "GET /ok/x y HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a target with a control": "GET /ok/\x01 HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a path that climbs": "GET /ok/../secret HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a path that climbs, encoded": "GET /ok/%2e%2e/secret HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a path that climbs past an encoded slash":
        "GET /ok/..%2fsecret HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a path that climbs by a backslash": "GET /ok/..\\secret HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "a doubled slash": "GET //ok/x HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "an endless line": "GET /ok/" + "a" * 70000 + " HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n",
    "an endless head": HEAD + "".join(f"X-{i}: {'v' * 50}\r\n" for i in range(3000)) + "\r\n",
    "a chunk with an endless size": HEAD + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n",
}
# A bad piece comes only after the head went out: the server may see the head, never more.
CUT = {
    "a chunk of a negative size": HEAD + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n" + SECOND,
    "a chunk without its end": HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n" + SECOND,
    "a chunk extension with a line feed": HEAD + "Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n" + SECOND,
    "a chunk size with a space": HEAD + "Transfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n0\r\n\r\n" + SECOND,
    "a forbidden trailer": HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 99\r\nHost: x\r\n\r\n",
}


def send(world, mode, requests, policy=POLICY):
    world.origin.forget()
    lines = "".join(request.format("x").encode("latin-1").hex() + "\n" for request in requests)
    got = world.python(SEND, mode, policy=policy, env={"TOKEN": VALUE}, stdin=lines.encode(),
                       timeout=300).expect(0)
    answers = json.loads(got.out)
    for answer, took in answers:
        assert took < patience(10), (answer, took)
    return [answer for answer, _ in answers]


def sane(request):
    """Whether a request has exactly one reading."""
    lengths = request.all("content-length")
    codings = request.all("transfer-encoding")
    return (request.all("host") == ["whoami.example.test"] and len(lengths) + len(codings) <= 1 and
            b"\0" not in request.raw and b"\n" not in request.raw.replace(b"\r\n", b"") and
            b"\r" not in request.raw.replace(b"\r\n", b"") and "smuggled" not in request.target and
            request.path.startswith("/ok/"))


def register(mode, where):
    @test(f"no ambiguous request reaches a server, {where}")
    def _(world):
        policy = POLICY.replace("inject", "plaintext = true, inject")
        answers, wrong = send(world, mode, REFUSED.values(), policy), []
        for name, answer in zip(REFUSED, answers):
            first = answer.split("\r\n")[0]
            status = first.split(" ")[1] if first.startswith("HTTP/1.") else first
            if status[:1] not in ("4", "5") and first not in ("", "[reset]"):
                wrong.append(f"{name}: {first!r}")
            if "hello /" in answer:
                wrong.append(f"{name}: {answer!r}")
        assert not wrong, "\n".join(wrong)
        assert [r.raw for r in world.origin.requests] == [], [r.raw for r in world.origin.requests]
        assert VALUE not in "".join(answers)

    @test(f"a body that breaks is cut, {where}")
    def _(world):
        policy = POLICY.replace("inject", "plaintext = true, inject")
        answers = send(world, mode, CUT.values(), policy)
        for name, answer in zip(CUT, answers):
            assert answer.count("HTTP/1.1 200") <= (1 if "trailer" in name else 0), f"{name}: {answer!r}"
        for request in world.origin.requests:
            assert sane(request), request.raw


register("tls", "under TLS")
register("plain", "without TLS")


@test("requests in one piece are answered in order, each decided by itself")
def _(world):
    first = "GET /ok/1 HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n"
    denied = "GET /no HTTP/1.1\r\nHost: whoami.example.test\r\n\r\n"
    last = "GET /ok/2 HTTP/1.1\r\nHost: whoami.example.test\r\nConnection: close\r\n\r\n"
    answer, = send(world, "tls", [first + denied + last])
    statuses = re.findall(r"HTTP/1\.1 (\d+)", answer)
    assert statuses[:2] == ["200", "403"] and statuses[2:] in ([], ["200"]), answer
    assert all(sane(r) for r in world.origin.requests)
    assert "/no" not in [r.path for r in world.origin.requests]


@test("a guest can't have the credential that the gate adds taken away or doubled")
def _(world):
    send(world, "tls", [
        "GET /ok/a HTTP/1.1\r\nHost: whoami.example.test\r\nConnection: close, authorization\r\n\r\n",
        "GET /ok/b HTTP/1.1\r\nHost: whoami.example.test\r\nProxy-Authorization: Basic eDp5\r\n"
        "Connection: close\r\n\r\n"])
    for request in world.origin.requests:
        assert request.all("authorization") == [f"Bearer {VALUE}"], request.raw
        assert request.get("proxy-authorization") is None, request.raw
        assert "authorization" not in (request.get("connection") or "").lower(), request.raw


@test("an upgrade that no rule covers is not passed on")
def _(world):
    send(world, "tls", ["GET /ok/a HTTP/1.1\r\nHost: whoami.example.test\r\nUpgrade: h2c\r\n"
                        "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"])
    for request in world.origin.requests:
        assert request.get("upgrade") != "h2c" and request.get("http2-settings") is None, request.raw


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
