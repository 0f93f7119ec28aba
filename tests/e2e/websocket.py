#!/usr/bin/env python3
"""WebSockets through the gate: a client of python3-websockets in a sandbox, its server outside."""

import subprocess

from harness import World, main, skip, test
from harness.secrecy import unseen

ALLOW = """
allow.http { host = "ws.example.test" }
"""
SECRET = """
secret "TOKEN" { from = env "TOKEN", hosts = { "ws.example.test" }, body = "text" }
"""
TOKEN = "tok_" + "0123456789abcdefghij" * 2

# Says what it was told, and whether that had the real value in it.
SERVER = """
import asyncio, ssl, sys, websockets
address, certificate, key, token = sys.argv[1:]

async def serve(socket, *_):
    async for message in socket:
        if message == "ping":
            await (await socket.ping(b"now"))
            await socket.send("ponged")
        elif message == "fragments":
            await socket.send(part for part in ("the tok", "en is ", token[:9], token[9:], "."))
        elif message == "headers":
            await socket.send(str(socket.request_headers))
        else:
            right = token in message if isinstance(message, str) else token.encode() in message
            await socket.send(("right " if right else "wrong ") + str(len(message)))
            await socket.send(message)

async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with websockets.serve(serve, address, 443, ssl=context, max_size=None):
        print("ready", flush=True)
        await asyncio.Future()

asyncio.run(main())
"""

CLIENT = """
import asyncio, os, sys, websockets
token = os.environ.get("TOKEN", "none")

async def main():
    async with websockets.connect("wss://ws.example.test/chat", max_size=None) as socket:
        async def ask(message, answers=1):
            await socket.send(message)
            return [await asyncio.wait_for(socket.recv(), 20) for _ in range(answers)]
        print("deflate" if socket.extensions else "plain")
        exec(compile("async def body():\\n" + sys.argv[1], "body", "exec"), {**globals(), **locals()},
             scope := {})
        await scope["body"]()
    print("closed", socket.close_code)

asyncio.run(main())
"""


def server(world):
    """The server's process, once it listens."""
    if not hasattr(world, "websocket"):
        if subprocess.run(["/usr/bin/python3", "-c", "import websockets"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            skip("no python3-websockets")
        world.dns.zone["ws.example.test"] = ["11.0.0.85"]
        certificate, key = world.ca.issue("ws", ["ws.example.test"])
        world.websocket = subprocess.Popen(
            ["/usr/bin/python3", "-B", "-c", SERVER, "11.0.0.85", str(certificate), str(key), TOKEN],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert world.websocket.stdout.readline() == b"ready\n"
    return world.websocket


def talk(world, body, policy, client=CLIENT):
    """What the client prints that does BODY in a sandbox, line by line, and its audit."""
    server(world)
    lines = "".join(f" {line}\n" for line in body.strip().splitlines())
    got = world.run(["/usr/bin/python3", "-B", "-c", client, lines], policy=policy,
                    env={"TOKEN": TOKEN}).expect(0)
    return got.text.splitlines(), got


@test("a WebSocket passes with its compression where no secret is in play")
def _(world):
    lines, got = talk(world, """
print((await ask("hello", 2)))
print((await ask("x" * 300000, 2))[1] == "x" * 300000)
print((await ask(bytes(range(256)), 2))[1] == bytes(range(256)))
print((await ask("ping")))
""", ALLOW)
    assert lines == ["deflate", "['wrong 5', 'hello']", "True", "True", "['ponged']",
                     "closed 1000"], lines
    assert [r["path"] for r in got.audit if r.get("status") == 101] == ["/chat"], got


@test("a secret's placeholder goes out as the value, and the value comes back as the placeholder")
def _(world):
    lines, got = talk(world, """
first, second = await ask("my " + token, 2)
print(first, second == "my " + token)
print((await ask("fragments"))[0] == "the token is " + token + ".")
print((await ask(token.encode(), 2))[0].split()[0])
print((await ask("x" * 300000, 2))[1] == "x" * 300000)
print((await ask("ping")))
""", ALLOW + SECRET)
    assert lines == ["plain", f"right {len(TOKEN) + 3} True", "True", "wrong", "True", "['ponged']",
                     "closed 1000"], lines
    assert TOKEN not in got.text + got.errors, got


# The same client, through a tunnel of the gateway's proxy port.
TUNNELED = CLIENT.replace("async def main():", """
import socket as sockets
tunnel = sockets.create_connection(("10.0.2.2", 3128), timeout=20)
tunnel.sendall(b"CONNECT ws.example.test:443 HTTP/1.1\\r\\nHost: ws.example.test:443\\r\\n\\r\\n")
head = b""
while not head.endswith(b"\\r\\n\\r\\n"):
    head += tunnel.recv(1)
assert head.startswith(b"HTTP/1.1 200 "), head
tunnel.setblocking(False)

async def main():""").replace(
    "max_size=None)", "max_size=None, sock=tunnel, server_hostname='ws.example.test')")


@test("a WebSocket through the proxy port is as one without it, also with a secret in its messages")
def _(world):
    body = """
first, second = await ask("my " + token, 2)
print(first, second == "my " + token)
print((await ask("x" * 300000, 2))[1] == "x" * 300000)
print((await ask("ping")))
"""
    lines, got = talk(world, body, ALLOW + SECRET, TUNNELED)
    assert lines == ["plain", f"right {len(TOKEN) + 3} True", "True", "['ponged']",
                     "closed 1000"], lines
    unseen(got, TOKEN)
    lines, got = talk(world, 'print((await ask("ping")))', ALLOW, TUNNELED)
    assert lines == ["deflate", "['ponged']", "closed 1000"], lines
    assert [r["path"] for r in got.audit if r.get("status") == 101] == ["/chat"], got


@test("a WebSocket to a path that no rule allows is refused with a status")
def _(world):
    server(world)
    got = world.run(["/usr/bin/python3", "-B", "-c", """
import asyncio, websockets
async def main():
    try:
        await websockets.connect("wss://ws.example.test/secret")
    except websockets.InvalidStatusCode as error:
        print(error.status_code)
asyncio.run(main())
"""], policy='allow.http { host = "ws.example.test", path = "/chat" }\n').expect(0)
    assert got.text == "403\n", got


@test("nothing is left behind")
def _(world):
    if hasattr(world, "websocket"):
        world.websocket.terminate()
        world.websocket.wait()
        world.websocket.stdout.close()
    world.nothing_left()


main(World)
