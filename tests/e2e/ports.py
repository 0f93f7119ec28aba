#!/usr/bin/env python3
"""Published ports: clients on the host reach servers in the sandbox, and nothing else of it."""

import concurrent.futures
import contextlib
import hashlib
import os
import re
import select
import signal
import socket
import struct
import threading
import time

from harness import PLAIN, ROOT, World, main, netns, patience, test
from harness.sandbox import descendants, poll

MIB = 1 << 20

# Servers of one port each: KIND ADDRESS PORT, and "ready" when all listen.
SERVERS = r"""
import hashlib, http.server, socket, struct, sys, threading
sys.stdin.reconfigure(line_buffering=True)
go = threading.Event()

def take(sock):
    digest, size = hashlib.sha256(), 0
    while data := sock.recv(1 << 16):
        digest.update(data)
        size += len(data)
    return f"{size} {digest.hexdigest()}".encode()

def digest(sock):        # Answers when the client has ended.
    sock.sendall(take(sock))

def late(sock):          # The same, but takes nothing before it is told to.
    go.wait()
    sock.sendall(take(sock))

def greeting(sock):      # Speaks first.
    sock.sendall(b"SSH-2.0-hello\r\n")
    sock.sendall(b"got " + sock.recv(100))

def ends_first(sock):    # Ends its direction, and takes what comes all the same.
    sock.sendall(b"over")
    sock.shutdown(socket.SHUT_WR)
    print(take(sock).decode(), flush=True)

def both(sock):          # 50 MiB each way at once.
    def send():
        for i in range(50):
            sock.sendall(bytes([i]) * (1 << 20))
        sock.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    print(take(sock).decode(), flush=True)
    sender.join()

def echo(sock):
    while data := sock.recv(1 << 16):
        sock.sendall(data)

def resets(sock):
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()

def tells_its_end(sock):
    try:
        sock.sendall(b"x")
        print("end" if not sock.recv(1) else "data", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)

def serve(listener, kind):
    while True:
        sock, _ = listener.accept()
        def run(sock=sock):
            with sock:
                globals()[kind](sock)
        threading.Thread(target=run, daemon=True).start()

def datagrams(sock):
    while True:
        data, peer = sock.recvfrom(1 << 16)
        sock.sendto(b"back " + data, peer)

class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 128

for kind, address, port in zip(*[iter(sys.argv[1:])] * 3):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if kind == "udp":
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, int(port)))
        threading.Thread(target=datagrams, args=(sock,), daemon=True).start()
    elif kind == "http":
        Web.address_family = family
        handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
        server = Web((address, int(port)), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    else:
        listener = socket.create_server((address, int(port)), family=family, backlog=256)
        threading.Thread(target=serve, args=(listener, kind), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    go.set()
"""


class Serving:
    """A sandbox with servers; `ports` has the host's for each of the guest's, in their order."""

    def __init__(self, world, servers, publish, user=ROOT, options=()):
        options = [word for port in publish for word in ("-p", port)] + ["--verbose", *options]
        arguments = [str(word) for server in servers for word in server]
        self.world, self.user = world, user
        self.running = world.start(["python3", "-u", "-c", SERVERS, *arguments], user=user, options=options)
        self.ports = []
        while len(self.ports) < len(publish):
            line = self.running.process.stderr.readline().decode()
            assert line, self.running.finish()
            if found := re.search(r" (\S+):(\d+) leads to port \d+ inside", line):
                self.ports.append((found[1].strip("[]"), int(found[2])))
        assert self.line() == "ready", self.running.finish()

    def line(self):
        return self.running.process.stdout.readline().decode().strip()

    def connect(self, which=0):
        return socket.create_connection(self.ports[which], timeout=patience(20))

    def resets(self):
        """Whether a client is reset; it may come before its own call has returned."""
        try:
            with self.connect() as sock:
                return is_reset(sock)
        except ConnectionResetError:
            return True

    def id(self):
        listed = self.world.sandboxctl("ls", user=self.user).expect(0).text.splitlines()[1:]
        assert len(listed) == 1, listed
        return listed[0].split()[0]

    def control(self, *arguments, code=0):
        return self.world.sandboxctl(*arguments, user=self.user).expect(code)


@contextlib.contextmanager
def serving(world, servers, publish, **options):
    guest = Serving(world, servers, publish, **options)
    try:
        yield guest
    finally:
        guest.result = guest.running.finish(b"")


def to_end(sock):
    data = bytearray()
    while piece := sock.recv(1 << 16):
        data += piece
    return bytes(data)


def digest_of(data):
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def is_reset(sock):
    try:
        return sock.recv(1) and False
    except ConnectionResetError:
        return True


def listeners():
    """The ports at which something listens on TCP or is bound on UDP, here."""
    found = set()
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state:
                found.add(int(fields[1].rsplit(":")[-1], 16))
    return found


for user, who in ((ROOT, "root"), (PLAIN, "a plain user")):
    @test(f"servers on loopback, on one address and on all of them are reached, over IPv4 and IPv6, for {who}")
    @netns.on_host
    def _(world, user=user):
        places = ["127.0.0.1", "0.0.0.0", "::1", "::", "10.0.2.15"]
        servers = [("http", place, 8000 + i) for i, place in enumerate(places)]
        publish = [f"0:{8000 + i}" for i in range(len(places))] + ["[::1]:0:8000"]
        with serving(world, servers, publish, user=user) as guest:
            for which in range(len(publish)):
                with guest.connect(which) as sock:
                    sock.sendall(b"GET /etc/hostname HTTP/1.0\r\n\r\n")
                    answer = to_end(sock)
                assert answer.startswith(b"HTTP/1.0 200") or answer.startswith(b"HTTP/1.0 404"), (which, answer)


@test("a port that was chosen is taken, on the loopback alone")
@netns.on_host
def _(world):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(world, [("greeting", "127.0.0.1", 22)], [f"{port}:22"]) as guest:
        assert guest.ports == [("127.0.0.1", port)], guest.ports
        with socket.socket() as elsewhere:
            assert elsewhere.connect_ex(("10.0.0.80", port)) != 0
    assert port not in listeners()


@test("a server that speaks first is heard")
@netns.on_host
def _(world):
    with serving(world, [("greeting", "127.0.0.1", 22)], ["0:22"]) as guest, guest.connect() as sock:
        assert sock.recv(100) == b"SSH-2.0-hello\r\n"
        sock.sendall(b"SSH-2.0-client")
        assert to_end(sock) == b"got SSH-2.0-client"


@test("either side ends its direction alone, and the other goes on")
@netns.on_host
def _(world):
    data = os.urandom(3 * MIB)
    with serving(world, [("digest", "127.0.0.1", 1), ("ends_first", "127.0.0.1", 2)], ["0:1", "0:2"]) as guest:
        with guest.connect(0) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert to_end(sock).decode() == digest_of(data)
        with guest.connect(1) as sock:
            assert to_end(sock) == b"over"
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert guest.line() == digest_of(data)


@test("fifty mebibytes go each way at the same time")
@netns.on_host
def _(world):
    up = b"".join(bytes([i]) * MIB for i in range(50))
    down = os.urandom(MIB) * 50
    with serving(world, [("both", "127.0.0.1", 9)], ["0:9"]) as guest, guest.connect() as sock:
        def send():
            sock.sendall(down)
            sock.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        began = time.monotonic()
        sender.start()
        assert hashlib.sha256(to_end(sock)).digest() == hashlib.sha256(up).digest()
        sender.join()
        assert guest.line() == digest_of(down)
        print(f"     (50 MiB each way in {time.monotonic() - began:.2f} s)")
    record = guest.result.told(transport="tcp", direction="in", port=9, verdict="allow")
    assert record["bytes_up"] == len(up) and record["bytes_down"] == len(down), record


@test("a hundred connections at once are served")
@netns.on_host
def _(world):
    with serving(world, [("echo", "127.0.0.1", 7)], ["0:7"]) as guest:
        socks = [guest.connect() for _ in range(100)]
        def talk(numbered):
            number, sock = numbered
            data = bytes([number]) * 200_000
            with sock:
                sender = threading.Thread(target=sock.sendall, args=(data,))
                sender.start()
                got = bytearray()
                while len(got) < len(data):
                    got += sock.recv(1 << 16)
                sender.join()
            return bytes(got) == data
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            assert all(pool.map(talk, enumerate(socks)))


@test("connections beyond the limit are reset, and there is room again when others end")
@netns.on_host
def _(world):
    with serving(world, [("echo", "127.0.0.1", 7)], ["0:7"]) as guest:
        with contextlib.ExitStack() as stack:
            for _ in range(256):
                sock = stack.enter_context(guest.connect())
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            assert guest.resets()
        def served():
            with contextlib.suppress(ConnectionResetError), guest.connect() as sock:
                sock.sendall(b"x")
                return sock.recv(1) == b"x"
        assert poll(served)
    guest.result.told(direction="in", reason="limit", verdict="deny")


@test("where nothing listens the client sees a reset at once, and the log says why")
@netns.on_host
def _(world):
    with serving(world, [], ["0:4444"]) as guest:
        began = time.monotonic()
        assert guest.resets()
        assert time.monotonic() - began < patience(5)
    record = guest.result.told(direction="in", reason="upstream_refused", port=4444, address="127.0.0.1")
    assert record["rule"] == f"port 127.0.0.1:{guest.ports[0][1]}", record
    assert "port 4444" in record["detail"], record


@test("a reset passes over in both directions")
@netns.on_host
def _(world):
    with serving(world, [("resets", "127.0.0.1", 1), ("tells_its_end", "127.0.0.1", 2)], ["0:1", "0:2"]) as guest:
        with guest.connect(0) as sock:
            sock.sendall(b"x")
            assert is_reset(sock)
        sock = guest.connect(1)
        assert sock.recv(1) == b"x"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        assert guest.line() == "reset"


@test("a server that takes nothing holds its client up, and nothing is lost when it goes on")
@netns.on_host
def _(world):
    with serving(world, [("late", "127.0.0.1", 1), ("echo", "127.0.0.1", 7)], ["0:1", "0:7"]) as guest:
        with guest.connect() as sock:
            sock.setblocking(False)
            sent = bytearray()
            piece = os.urandom(1 << 16)
            while select.select([], [sock], [], 1)[1]:
                sent += piece[:sock.send(piece)]
                assert len(sent) < 64 * MIB, "nobody holds the client up"
            with guest.connect(1) as other:  # One that stalls alone.
                other.sendall(b"hello")
                assert other.recv(5) == b"hello"
            guest.running.process.stdin.write(b"go\n")
            guest.running.process.stdin.flush()
            sock.setblocking(True)
            sock.settimeout(patience(20))
            sock.shutdown(socket.SHUT_WR)
            assert to_end(sock).decode() == digest_of(sent)


@test("datagrams reach a server, and its answers the client that asked")
@netns.on_host
def _(world):
    servers = [("udp", "127.0.0.1", 53), ("udp", "10.0.2.15", 54), ("udp", "::1", 55)]
    with serving(world, servers, ["0:53/udp", "0:54/udp", "[::1]:0:55/udp"]) as guest:
        for which, family in enumerate((socket.AF_INET, socket.AF_INET, socket.AF_INET6)):
            with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as two:
                for number, sock in enumerate((one, two)):
                    sock.settimeout(patience(10))
                    sock.connect(guest.ports[which])
                    for size in (1, 1000, 60000):
                        data = bytes([number]) * size
                        sock.send(data)
                        assert sock.recv(1 << 16) == b"back " + data, (which, size)
    guest.result.told(transport="udp", direction="in", port=53, verdict="allow")


@test("datagrams for a port that nobody has are told in the log, and disturb nobody")
@netns.on_host
def _(world):
    with serving(world, [("udp", "127.0.0.1", 53)], ["0:53/udp", "0:99/udp"]) as guest:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"lost", guest.ports[1])
            sock.settimeout(patience(10))
            sock.sendto(b"x", guest.ports[0])
            assert sock.recv(100) == b"back x"
        # The agent tries each address in turn; a sandbox that ended before would be told instead.
        assert poll(lambda: b"upstream_refused" in guest.running.audit_path.read_bytes())
    guest.result.told(transport="udp", direction="in", port=99, reason="upstream_refused")


@test("a sandbox without a network can have published ports")
@netns.on_host
def _(world):
    with serving(world, [("greeting", "127.0.0.1", 22)], ["0:22"], options=["--no-network"]) as guest:
        with guest.connect() as sock:
            assert sock.recv(100) == b"SSH-2.0-hello\r\n"


@test("what can't be published is said before anything runs, with what to do")
@netns.on_host
def _(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for publish, why in ((f"{port}:80", f"port {port}/tcp of 127.0.0.1 is in use; choose another, or 0"),
                             ("192.0.2.7:0:80", "this host has no address 192.0.2.7"),
                             ("80", "write [BIND:]HOST:GUEST"), ("80:", "write [BIND:]HOST:GUEST"),
                             ("80:0", "a port is a number from 1 to 65535"),
                             ("70000:80", "a port is a number"), ("8080:80/sctp", "neither tcp nor udp"),
                             ("::1:8080:80", "BIND is no address"), ("localhost:8080:80", "BIND is no address"),
                             ("1:2:3:4", "BIND is no address"), ("", "write")):
            got = world.run("echo started", options=["-p", publish]).expect(125)
            assert why in got.errors and "started" not in got.text, (publish, got)
    if int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read()) > 80:
        got = world.run("echo started", options=["-p", "80:80"], user=PLAIN).expect(125)
        assert "port 80 needs privileges; choose one from 1024 on" in got.errors, got
    many = [word for i in range(65) for word in ("-p", f"0:{1000 + i}")]
    assert "64 ports at most" in world.run("true", options=many).expect(125).errors


for user, who in ((ROOT, "root"), (PLAIN, "a plain user")):
    @test(f"ports are shown, added and taken back while the sandbox runs, for {who}")
    @netns.on_host
    def _(world, user=user):
        with serving(world, [("echo", "127.0.0.1", 7), ("udp", "127.0.0.1", 53)], ["0:7"], user=user) as guest:
            sandbox = guest.id()
            added = guest.control("port", "add", sandbox, "0:7").text.strip()
            address, port = re.fullmatch(r"(127\.0\.0\.1):(\d+)/tcp", added).groups()
            udp = guest.control("port", "add", sandbox, "[::1]:0:53/udp").text.strip()
            with socket.create_connection((address, int(port)), timeout=patience(20)) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
                shown = [line.split() for line in guest.control("port", "ls", sandbox).text.splitlines()]
                assert shown == [["TRANSPORT", "HOST", "INSIDE", "OPEN"],
                                 ["tcp", f"127.0.0.1:{guest.ports[0][1]}", "7", "0"],
                                 ["tcp", f"127.0.0.1:{port}", "7", "1"],
                                 ["udp", udp.removesuffix("/udp"), "53", "0"]], shown
                guest.control("port", "rm", sandbox, port)
                assert is_reset(sock)
            assert int(port) not in listeners()
            guest.control("port", "rm", sandbox, udp.removesuffix("/udp") + "/udp")
            with guest.connect() as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
            for arguments, why in ((("rm", sandbox, "1"), "no such port leads into the sandbox"),
                                   (("rm", sandbox, "x"), "write [BIND:]HOST[/udp]"),
                                   (("add", sandbox, "1"), "write [BIND:]HOST:GUEST"),
                                   (("add", sandbox, f"{guest.ports[0][1]}:7"), "is in use"),
                                   (("add", "sp-nobody", "0:7"), "no sandbox sp-nobody of yours is running")):
                assert why in guest.control("port", *arguments, code=1).errors, arguments
        guest.result.told(transport="control", method="port add")
        guest.result.told(transport="control", method="port rm")


@test("no listener is left when a sandbox ends, or when its warden is killed")
@netns.on_host
def _(world):
    with serving(world, [("echo", "127.0.0.1", 7)], ["0:7", "0:8/udp"]) as guest:
        assert {port for _, port in guest.ports} <= listeners()
    assert not {port for _, port in guest.ports} & listeners()
    with serving(world, [("echo", "127.0.0.1", 7)], ["0:7", "0:8/udp"]) as guest:
        sock = guest.connect()
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        warden, = [pid for pid, name in descendants(guest.running.pid) if name == "sandbox-warden"]
        os.kill(warden, signal.SIGKILL)
        assert poll(lambda: not {port for _, port in guest.ports} & listeners())
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        sock.close()
    assert guest.result.code == 125, guest.result


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
