#!/usr/bin/env python3
"""Bodies, queries and paths: values go out where a declaration says so, and never come back."""

import base64
import contextlib
import gzip
import json
import threading
import urllib.parse
import zlib

from harness import World, main, test
from harness.secrecy import unseen

VALUE = 'ghp_R3al"T0ken/Value+Not&For=TheGuest\\0123456789'
POLICY = """
allow.http { host = { "whoami.example.test", "other.example.test" } }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" }, %s }
"""


@contextlib.contextmanager
def answering(world, handler):
    """The origin records each request, and HANDLER answers it: (status, fields, body)."""
    world.origin.forget()

    def handle(request, connection):
        status, fields, body = handler(request)
        lines = [f"HTTP/1.1 {status} Answer", f"Content-Length: {len(body)}", *fields, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)
        return True

    world.origin.handler = handle
    try:
        yield
    finally:
        world.origin.handler = None


def run(world, command, more, **options):
    return world.run(command, policy=POLICY % more, env={"API_TOKEN": VALUE}, **options).expect(0)


def accepted(world, command, more):
    """The one request that the server got when COMMAND ran."""
    world.origin.forget()
    got = run(world, command, more)
    assert len(world.origin.requests) == 1, [r.raw for r in world.origin.requests]
    assert VALUE not in got.audit_path.read_text()
    return world.origin.requests[0]


def spellings(value):
    """VALUE as servers repeat it."""
    raw = value.encode()
    shapes = [raw, urllib.parse.quote(value, safe="").encode(), urllib.parse.quote_plus(value).encode(),
              json.dumps(value)[1:-1].encode(), raw.hex().encode(), raw.hex().upper().encode()]
    for before in ("", "a", "ab"):
        shapes += [base64.b64encode(before.encode() + raw + b"zz"),
                   base64.urlsafe_b64encode(before.encode() + raw + b"zz")]
    return shapes


CURL = "curl -sS https://whoami.example.test"


@test("a JSON body's placeholder becomes the value, escaped, and the length is right")
def _(world):
    request = accepted(world, CURL + '/v1 -H "content-type: application/json" '
                       '-d "{\\"key\\": \\"$API_TOKEN\\", \\"n\\": 1}"', 'body = "json"')
    assert json.loads(request.body) == {"key": VALUE, "n": 1}, request.body
    assert request.get("content-length") == str(len(request.body))


@test("a form's placeholder becomes the value, percent-encoded")
def _(world):
    request = accepted(world, CURL + '/v1 --data-urlencode "key=$API_TOKEN" -d n=1', 'body = "form"')
    assert urllib.parse.parse_qs(request.body.decode()) == {"key": [VALUE], "n": ["1"]}, request.body


@test("a multipart form's part becomes the value as it is")
def _(world):
    request = accepted(world, CURL + '/v1 -F "key=$API_TOKEN" -F n=1', 'body = "form"')
    assert VALUE.encode() + b"\r\n" in request.body, request.body


@test("a query and a path get the value, percent-encoded in its place, and the audit log shows neither")
def _(world):
    request = accepted(world, CURL + '"/bot$API_TOKEN/send?b=2&key=$API_TOKEN&a=1"', "query = true, path = true")
    path, _, query = request.target.partition("?")
    assert urllib.parse.unquote(path) == f"/bot{VALUE}/send" and path.count("/") == 2, request.target
    assert urllib.parse.parse_qsl(query) == [("b", "2"), ("key", VALUE), ("a", "1")], request.target


@test("a placeholder stays one in a body that no declaration speaks of, and in one of another kind")
def _(world):
    command = CURL + '/v1 -H "content-type: application/json" -d "{\\"key\\": \\"$API_TOKEN\\"}"'
    for more in ("methods = { \"POST\" }", 'body = "form"'):
        assert VALUE not in json.loads(accepted(world, command, more).body)["key"]


@test("an answer shows the placeholder in the value's place, in every usual spelling")
def _(world):
    with answering(world, lambda request: (200, [], b"\n".join(spellings(VALUE)))):
        got = run(world, CURL + "/", "methods = { 'GET' }")
    for spelled in spellings(VALUE)[:6]:
        assert spelled not in got.out, spelled
    middle = base64.b64encode(VALUE.encode())[4:-8]
    assert middle not in got.out


@test("fields of an answer are scrubbed, too, of every host")
def _(world):
    fields = [f"Location: /login?token={urllib.parse.quote(VALUE, safe='')}", f"Set-Cookie: session={VALUE}",
              f"X-Debug: {base64.b64encode(('me:' + VALUE).encode()).decode()}"]
    with answering(world, lambda request: (302, fields, b"")):
        got = run(world, "curl -sSi https://other.example.test/; printf 'mine %s\\n' \"$API_TOKEN\"",
                  "methods = { 'GET' }")
    for spelled in spellings(VALUE)[:4]:
        assert spelled not in got.out, got
    placeholder = got.text.splitlines()[-1].split()[1]
    assert f"session={placeholder}" in got.text.lower().replace(placeholder.lower(), placeholder), got


@test("a compressed answer is decoded to be searched, and arrives readable")
def _(world):
    body = b"before " + VALUE.encode() + b" after\n" + b"x" * 100000
    with answering(world, lambda request: (200, ["Content-Encoding: gzip", 'ETag: "1"'], gzip.compress(body))):
        got = run(world, CURL + "/ --compressed -o out -w '%{http_code}\\n' && head -c 90 out && wc -c <out",
                  "methods = { 'GET' }", options=("-w", "/tmp"))
    assert b"before ghp_" in got.out and VALUE.encode() not in got.out, got


# Reads events, and confirms each on a connection of its own before it reads on.
LISTENING = """
import http.client, os, sys, zlib
coding = sys.argv[1]
stream = http.client.HTTPSConnection("whoami.example.test")
stream.request("GET", "/events", headers={"Accept-Encoding": coding})
answer = stream.getresponse()
sent = answer.getheader("Content-Encoding", "identity")
decode = zlib.decompressobj(31).decompress if sent == "gzip" else bytes
text = b""
for number in range(20):
    # The beginning of a value, at which the server waits, comes too.
    while not text.endswith(b"ghp_R3al"):
        piece = answer.read1(65536)
        assert piece, "the stream ended"
        text += decode(piece)
    event, _, text = text.partition(b"\\n\\nghp_R3al")
    kind, count, who = event.decode().split(" ")
    assert kind == "data:" and int(count) == number, event
    assert who == os.environ["API_TOKEN"], event
    confirm = http.client.HTTPSConnection("whoami.example.test")
    confirm.request("POST", "/seen", body=count)
    assert confirm.getresponse().status == 200
print("all", answer.read(1))
"""


@test("events that a server sends pass the scrubber one by one, each before the next is sent")
def _(world):
    for coding in ("identity", "gzip"):
        seen = threading.Semaphore(0)

        def handle(request, connection):
            if request.method == "POST":
                seen.release()
                return False
            packer = zlib.compressobj(wbits=31)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               b"Transfer-Encoding: chunked\r\n")
            connection.sendall(b"Content-Encoding: gzip\r\n\r\n" if coding == "gzip" else b"\r\n")
            for number in range(20):
                event = f"data: {number} {VALUE}\n\nghp_R3al".encode()
                if coding == "gzip":
                    event = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
                connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
                if not seen.acquire(timeout=60):
                    raise RuntimeError(f"event {number} was not confirmed")
            if coding == "gzip":
                end = packer.flush(zlib.Z_FINISH)
                connection.sendall(b"%x\r\n%s\r\n" % (len(end), end))
            connection.sendall(b"0\r\n\r\n")
            return True

        world.origin.handler = handle
        try:
            got = world.python(LISTENING, coding, policy=POLICY % "methods = { 'GET' }",
                               env={"API_TOKEN": VALUE}, timeout=90).expect(0)
        finally:
            world.origin.handler = None
        assert got.text == "all b''\n", got
        unseen(got, VALUE)


@test("a hundred megabytes pass a scrubber whole")
def _(world):
    got = run(world, "curl -sS https://other.example.test/bytes/100000000 | sha256sum", "methods = { 'GET' }",
              timeout=120)
    plain = world.run("curl -sS https://other.example.test/bytes/100000000 | sha256sum",
                      policy='allow.http { host = "other.example.test" }', timeout=120).expect(0)
    assert got.text == plain.text, (got, plain)


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
