#!/usr/bin/env python3
"""HTTP/2 and gRPC through the gate: clients in sandboxes, nginx and a gRPC server outside."""

import shutil
import subprocess

from harness import World, main, skip, test
from harness.nginx import Nginx
from harness.secrecy import unseen

POLICY = """
secret "TOKEN" { from = env "TOKEN", hosts = { "grpc.example.test", "load.example.test" } }
deny.http { host = "grpc.example.test", path = "/Test/Denied", reason = "not this method" }
allow.http { host = { "api.example.test", "whoami.example.test", "grpc.example.test",
                      "load.example.test" } }
"""
# As long as its placeholder: a gRPC message says its length before a value in it is replaced.
TOKEN = "tok_" + "0123456789abcdefghij" * 2

SERVER = """
import sys, threading, grpc
from concurrent import futures
cancelled = threading.Event()
address, certificate, key, token = sys.argv[1:]

def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-trailer", "kept"),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as you wish")
    sent = metadata.get("authorization", "-")
    return request + (b" right " if sent == "Bearer " + token else b" wrong ") + sent.encode()

def stream(requests, context):
    for request in requests:
        yield request.swapcase()

def many(request, context):
    for i in range(int(request)):
        yield b"%d" % i * 1000

def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)

def forever(request, context):
    context.add_callback(cancelled.set)
    yield b"first tok_0"
    cancelled.wait(60)

def was_cancelled(request, context):
    return b"yes" if cancelled.wait(60) else b"no"

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Stream": grpc.stream_stream_rpc_method_handler(stream),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Forever": grpc.unary_stream_rpc_method_handler(forever),
    "WasCancelled": grpc.unary_unary_rpc_method_handler(was_cancelled)}),))
files = [open(name, "rb").read() for name in (key, certificate)]
server.add_secure_port(address, grpc.ssl_server_credentials([tuple(files)]))
server.start()
print("ready", flush=True)
server.wait_for_termination()
"""

CLIENT = """
import os, sys, grpc
channel = grpc.secure_channel(sys.argv[1] + ":443", grpc.ssl_channel_credentials())
unary = channel.unary_unary("/Test/Unary")
stream = channel.stream_stream("/Test/Stream")
try:
    answer, call = unary.with_call(b"hello", timeout=20,
                                   metadata=(("authorization", "Bearer " + os.environ["TOKEN"]),))
    print(answer.decode().replace(os.environ["TOKEN"], "PLACEHOLDER"), dict(call.trailing_metadata()).get("x-trailer"), call.code().name)
    print(b" ".join(stream(iter([b"a", b"b", b"c"]), timeout=20)).decode())
    unary(b"fail", timeout=20)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"""


STREAMS = """
import queue, sys, grpc
channel = grpc.secure_channel("grpc.example.test:443", grpc.ssl_channel_credentials())
many = [len(part) for part in channel.unary_stream("/Test/Many")(b"1000", timeout=60)]
print(len(many), sum(many))
print(channel.stream_unary("/Test/Total")((b"x" * 1000 for _ in range(3000)), timeout=60).decode())
# Each message is sent once the answer to the one before has come. They end as spellings of the value
# begin: as it is, in hexadecimal, in base64, in JSON.
ends = [b"t", b"to", b"tok", b"tok_", b"tok_012", b"7", b"746f6", b"d", b"dG9rX", b"Rva1", b"tok\\\\u0"]
turns = queue.Queue()
answers = channel.stream_stream("/Test/Stream")(iter(turns.get, None), timeout=60)
for i in range(50):
    turn = b"TURN %d " % i + ends[i % len(ends)]
    turns.put(turn.swapcase())
    assert next(answers) == turn
turns.put(None)
print(list(answers))
call = channel.unary_stream("/Test/Forever")(b"", timeout=60)
print(next(call).decode())
call.cancel()
print(channel.unary_unary("/Test/WasCancelled")(b"", timeout=60).decode())
for kind in ("unary_unary", "stream_stream"):
    try:
        method = getattr(channel, kind)("/Test/Denied")
        if kind == "unary_unary":
            method(b"x" * 100000, timeout=60)
        else:
            list(method(iter(turns.get, None), timeout=60))
    except grpc.RpcError as error:
        print(error.code().name, "not this method" in error.details())
turns.put(None)
"""


def run(world, command, **more):
    return world.run(command, policy=POLICY, env={"TOKEN": TOKEN}, **more).expect(0)


def grpc_server(world):
    """The server's process, once it listens."""
    if not hasattr(world, "grpc"):
        if subprocess.run(["/usr/bin/python3", "-c", "import grpc"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            skip("no python3-grpcio")
        world.dns.zone["grpc.example.test"] = ["11.0.0.85"]
        certificate, key = world.ca.issue("grpc", ["grpc.example.test"])
        world.grpc = subprocess.Popen(
            ["/usr/bin/python3", "-B", "-c", SERVER, "11.0.0.85:443", str(certificate), str(key),
             TOKEN],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert world.grpc.stdout.readline() == b"ready\n"
    return world.grpc


def stop_grpc_server(world):
    if hasattr(world, "grpc"):
        world.grpc.terminate()
        world.grpc.wait()
        world.grpc.stdout.close()


def call(world, host):
    return run(world, ["/usr/bin/python3", "-B", "-c", CLIENT, host]).text


@test("curl speaks HTTP/2 with a server that does")
def _(world):
    got = run(world, "curl -sS --http2 -w '%{http_version}\\n' https://api.example.test/small")
    assert got.text == "small\n2\n", got


@test("curl speaks HTTP/1.1 with a server that speaks nothing else")
def _(world):
    got = run(world, "curl -sS --http2 -o /dev/null -w '%{http_version}\\n' "
                     "https://whoami.example.test/")
    assert got.text == "1.1\n", got


@test("a client of HTTP/1.1 gets that from the same server")
def _(world):
    got = run(world, "curl -sS --http1.1 -w '%{http_version}\\n' https://api.example.test/small")
    assert got.text == "small\n1.1\n", got


@test("a refusal of a request whose body is still on its way is read")
def _(world):
    for size in (10, 100_000, 5_000_000):
        got = world.run(f"head -c {size} /dev/zero | curl -sS --http2 -T - -X POST "
                        "https://api.example.test/small",
                        policy='allow.http { host = "api.example.test", method = "GET" }').expect(0)
        assert '"status": 403' in got.text, got


@test("ten thousand requests over ten connections of HTTP/2 all succeed")
def _(world):
    if not shutil.which("h2load"):
        skip("no h2load")
    got = run(world, "h2load -n 10000 -c 10 -m 50 https://api.example.test/small", timeout=120)
    assert "10000 succeeded, 0 failed, 0 errored" in got.text, got
    assert "Application protocol: h2" in got.text, got


def loaded(world):
    """A server that answers 200 to who sends the value of TOKEN, else 401."""
    if hasattr(world, "loaded"):
        return
    for program in ("h2load", "nghttp"):
        if not shutil.which(program, path="/usr/bin:/bin"):
            skip(f"no {program}")
    subprocess.run(["ip", "addr", "replace", "11.0.0.90/32", "dev", "lo"], check=True)
    world.dns.zone["load.example.test"] = ["11.0.0.90"]
    certificate = world.ca.issue("load", ["load.example.test"])
    world.loaded = Nginx(world.folder / "load", [("11.0.0.90", 443, certificate)], f"""
    location = /checked {{
      if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}
      return 200 "right $http_authorization\\n";
    }}
""")


@test("two thousand requests over four connections all carry the value, and none brings it back")
def _(world):
    loaded(world)
    got = run(world, 'h2load -n 2000 -c 4 -m 100 -H "authorization: Bearer $TOKEN" '
                     "https://load.example.test/checked", timeout=120)
    assert "2000 succeeded, 0 failed, 0 errored" in got.text, got
    assert "status codes: 2000 2xx" in got.text, got
    unseen(got, TOKEN)


@test("nghttp gets a page with the value swapped, and sees the placeholder")
def _(world):
    loaded(world)
    got = run(world, 'nghttp -v -H "authorization: Bearer $TOKEN" https://load.example.test/checked; '
                     'echo "mine $TOKEN"')
    placeholder = got.text.split()[-1]
    assert ":status: 200" in got.text and f"right Bearer {placeholder}" in got.text, got
    unseen(got, TOKEN)


@test("gRPC calls, streams, trailers and a swapped credential pass")
def _(world):
    grpc_server(world)
    lines = call(world, "grpc.example.test").splitlines()
    assert lines == ["hello right Bearer PLACEHOLDER kept OK", "A B C",
                     "FAILED_PRECONDITION as you wish"], lines


@test("gRPC streams pass in each direction, a cancelled call is cancelled, a denied one says why")
def _(world):
    grpc_server(world)
    lines = run(world, ["/usr/bin/python3", "-B", "-c", STREAMS]).text.splitlines()
    assert lines == ["1000 2890000", "3000000", "[]", "first tok_0", "yes", "PERMISSION_DENIED True",
                     "PERMISSION_DENIED True"], lines


@test("gRPC to a server that speaks only HTTP/1.1 is refused in words")
def _(world):
    grpc_server(world)
    text = run(world, ["/usr/bin/python3", "-B", "-c",
                       CLIENT.replace('"Bearer " + os.environ["TOKEN"]', '"none"'),
                       "whoami.example.test"]).text
    assert "speaks only HTTP/1.1" in text, text


@test("nothing is left behind")
def _(world):
    stop_grpc_server(world)
    if hasattr(world, "loaded"):
        world.loaded.close()
    world.nothing_left()


main(World)
