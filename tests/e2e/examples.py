#!/usr/bin/env python3
"""Runs every example as examples/README.md says, and compares with its expected.txt."""

import pathlib
import re
import subprocess

from harness import World, main, test
from harness.origin import Origin

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


class Example:
    """An expected.txt, read."""

    def __init__(self, folder):
        self.folder = folder
        self.environment, self.servers, self.steps = {}, [], []
        command, answer = None, []
        for line in (folder / "expected.txt").read_text().splitlines() + [""]:
            if line.startswith("@env "):
                name, _, value = line[5:].partition("=")
                self.environment[name] = value
            elif line.startswith("@serve "):
                names, _, where = line[7:].partition(" at ")
                address, _, port = where.rpartition(":")
                self.servers.append((names.split(), address, int(port)))
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


class Mirror:
    """A server that answers with what it received."""

    def __init__(self, world, example, names, address, port):
        subprocess.run(["ip", "addr", "replace", f"{address}/32", "dev", "lo"], check=True)
        self.secrets = example.environment
        certificate = world.ca.issue(f"example-{names[0]}", names)
        self.origin = Origin([(address, port)], certificate, (port,))
        self.origin.handler = self.answer
        if address != "127.0.0.1":
            for name in names:
                world.dns.zone[name] = [address]

    def answer(self, request, connection):
        lines = [f"{request.method} {request.path} of {request.get('host')}"]
        lines += [f"{name.lower()}: {value}" for name, value in request.fields
                  if name.lower() == "authorization" or name.lower().startswith("x-")]
        text = "\n".join(lines)
        for name, value in self.secrets.items():
            text = text.replace(value, f"(the value of {name})")
        body = (text + "\n").encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return True


def register(folder):
    @test(f"{folder.name}: the policy is valid")
    def _(world):
        world.sandboxctl("policy", "check", str(folder / "policy.lua")).expect(0)

    @test(f"{folder.name}: does what its expected.txt says")
    def _(world):
        example = Example(folder)
        assert example.steps, "no command in expected.txt"
        mirrors = [Mirror(world, example, *server) for server in example.servers]
        try:
            for command, expected in example.steps:
                got = world.run(command, options=["-f", str(folder / "policy.lua")],
                                env=example.environment)
                assert matches(expected, got.text), f"expected {expected}\n{got}"
        finally:
            for mirror in mirrors:
                mirror.origin.close()

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
