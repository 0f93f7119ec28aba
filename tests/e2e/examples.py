#!/usr/bin/env python3
"""Runs every example as examples/README.md says, and compares with its expected.txt."""

import io
import json
import pathlib
import re
import socketserver
import subprocess
import threading
import zipfile

from harness import World, main, skip, test
from harness.origin import Origin

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


class Example:
    """An expected.txt, read."""

    def __init__(self, folder):
        self.folder = folder
        self.environment, self.servers, self.needs, self.steps = {}, [], [], []
        command, answer = None, []
        for line in (folder / "expected.txt").read_text().splitlines() + [""]:
            if line.startswith("@env "):
                name, _, value = line[5:].partition("=")
                self.environment[name] = value
            elif line.startswith("@needs "):
                self.needs.append(pathlib.Path(line[7:]))
            elif line.startswith("@"):
                kind, *names, at, where = line[1:].split()
                address, _, port = where.rpartition(":")
                if at != "at" or kind not in KINDS:
                    raise ValueError(f"{folder.name}/expected.txt: {line!r}")
                self.servers.append((KINDS[kind], names, address, int(port)))
            elif line.startswith(("$", "#")) or not line:
                if command:
                    self.steps.append((command, answer))
                command, answer = (line[2:], []) if line.startswith("$") else (None, [])
            elif command:
                answer.append(line)
            else:
                raise ValueError(f"{folder.name}/expected.txt: {line!r} belongs to no command")


def matches(expected, text):
    """Whether TEXT is what the lines EXPECTED say."""
    pattern = "\n".join(
        r"(.|\n)*" if line == "…" else ".*".join(re.escape(part) for part in line.split("…"))
        for line in expected)
    return re.fullmatch(pattern, text.rstrip("\n")) is not None


def place(world, names, address):
    """Makes ADDRESS this machine's, and NAMES lead to it."""
    subprocess.run(["ip", "addr", "replace", f"{address}/32", "dev", "lo"], check=True)
    if address != "127.0.0.1":
        for name in names:
            world.dns.zone[name] = [address]


class Server:
    """An HTTPS server; what it answers is its kind's."""

    def __init__(self, world, example, names, address, port):
        place(world, names, address)
        self.secrets = example.environment
        certificate = world.ca.issue(f"example-{names[0]}", names)
        self.origin = Origin([(address, port)], certificate, (port,))
        self.origin.handler = self.answer
        self.close = self.origin.close

    def answer(self, request, connection):
        body, kind = self.body(request)
        status = b"404 Not Found" if body is None else b"200 OK"
        body = body or b""
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n" % (status, kind.encode(), len(body)) + body)
        return True


class Mirror(Server):
    """Answers with what it received."""

    def body(self, request):
        lines = [f"{request.method} {request.path} of {request.get('host')}"]
        lines += [f"{name.lower()}: {value}" for name, value in request.fields
                  if name.lower() == "authorization" or name.lower().startswith("x-")]
        text = "\n".join(lines)
        for name, value in self.secrets.items():
            text = text.replace(value, f"(the value of {name})")
        return (text.replace(TOKEN, "(an access token)") + "\n").encode(), "text/plain"


TOKEN = "access-token-0123456789abcdef"


class Tokens(Server):
    """A token endpoint that knows every client."""

    def body(self, request):
        if request.path != "/oauth/token" or not request.get("authorization", "").startswith("Basic "):
            return None, "text/plain"
        answer = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}
        return json.dumps(answer).encode(), "application/json"


class Index(Server):
    """A package index (PEP 503) with one package."""

    WHEEL = "greeter-1.0-py3-none-any.whl"

    def body(self, request):
        if request.path == "/simple/greeter/":
            link = f"https://files.pythonhosted.org/{self.WHEEL}"
            return f'<!DOCTYPE html><a href="{link}">{self.WHEEL}</a>'.encode(), "text/html"
        if request.path == "/" + self.WHEEL:
            return self.wheel(), "application/octet-stream"
        return None, "text/plain"

    @staticmethod
    def wheel():
        files = {"greeter.py": "print('hello from greeter')\n",
                 "greeter-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n",
                 "greeter-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\n"
                                                "Root-Is-Purelib: true\nTag: py3-none-any\n"}
        record = "".join(f"{name},,\n" for name in [*files, "greeter-1.0.dist-info/RECORD"])
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for name, text in {**files, "greeter-1.0.dist-info/RECORD": record}.items():
                archive.writestr(name, text)
        return made.getvalue()


class Echo:
    """A TCP server that answers each line."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 60

        def handle(self):
            for line in self.rfile:
                self.wfile.write(b"you said " + line)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    def __init__(self, world, _example, names, address, port):
        place(world, names, address)
        self.server = self.Listener((address, port), self.Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


KINDS = {"serve": Mirror, "tokens": Tokens, "index": Index, "echo": Echo}


def register(folder):
    @test(f"{folder.name}: the policy is valid")
    def _(world):
        world.sandboxctl("policy", "check", str(folder / "policy.lua")).expect(0)

    @test(f"{folder.name}: does what its expected.txt says")
    def _(world):
        example = Example(folder)
        assert example.steps, "no command in expected.txt"
        for program in example.needs:
            if not program.exists():
                skip(f"no {program}")
        servers = [kind(world, example, *where) for kind, *where in example.servers]
        try:
            for command, expected in example.steps:
                got = world.run(command, options=["-f", str(folder / "policy.lua")],
                                env=example.environment)
                assert matches(expected, got.text), f"expected {expected}\n{got}"
        finally:
            for server in servers:
                server.close()

    @test(f"{folder.name}: has a README")
    def _(world):
        assert (folder / "README.md").stat().st_size > 100


for path in sorted(EXAMPLES.iterdir()):
    if path.is_dir() and not path.name.startswith("."):
        register(path)


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
