#!/usr/bin/env python3
"""HTTP/2 and gRPC through the gate: clients in sandboxes, nginx and a gRPC server outside."""

import shutil
import subprocess

from harness import World, main, skip, test

POLICY = """
secret "TOKEN" { from = env "TOKEN", hosts = { "grpc.example.test" } }
allow.http { host = { "api.example.test", "whoami.example.test", "grpc.example.test" } }
"""
# As long as its placeholder: a gRPC message says its length before a value in it is replaced.
TOKEN = "tok_" + "0123456789abcdefghij" * 2

SERVER = """
import sys, grpc
from concurrent import futures
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
        yield request.upper()

server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Stream": grpc.stream_stream_rpc_method_handler(stream)}),))
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


@test("gRPC calls, streams, trailers and a swapped credential pass")
def _(world):
    grpc_server(world)
    lines = call(world, "grpc.example.test").splitlines()
    assert lines == ["hello right Bearer PLACEHOLDER kept OK", "A B C",
                     "FAILED_PRECONDITION as you wish"], lines


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
    world.nothing_left()


main(World)
