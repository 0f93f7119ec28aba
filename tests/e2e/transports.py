#!/usr/bin/env python3
"""Programs that speak neither HTTP nor TLS, unchanged: iperf3, redis, ping, nc and dig; who speaks first; ten thousand connections."""

import contextlib
import json
import re
import resource
import selectors
import shutil
import socket
import subprocess
import threading

from harness import World, main, netns, skip, test
from harness.runner import SLOW
from harness.sandbox import poll

ADDRESS, ADDRESS6 = "11.0.0.81", "2600:11::81"  # whoami.example.test
IPERF, REDIS, SSH, ECHO, MANY = 5201, 6379, 22, 7, 9000
POLICY = f"""
allow.tcp {{ host = "whoami.example.test", port = {{ {IPERF}, {REDIS}, {SSH}, {MANY} }} }}
allow.udp {{ host = "whoami.example.test", port = {{ {IPERF}, {ECHO} }} }}
allow.icmp {{ host = "whoami.example.test" }}
allow.icmp {{ ip = "{ADDRESS6}" }}
allow.http {{ host = "api.example.test" }}
"""
MIB = 1 << 20
BULK = (64 if SLOW else 128) * MIB
CONNECTIONS = 1000 if SLOW else 10_000

# Opens COUNT connections, no more than 400 of them at once not yet open, and has an exchange over each while all are open; says so,
# does it once more, in another order, when it is told to, and closes them when it is told to.
OPEN_MANY = """
import os, random, resource, select, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
poll, opening, opened = select.epoll(), {}, []
while len(opened) < count:
    while len(opening) < 400 and len(opened) + len(opening) < count:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        opening[sock.fileno()] = sock
        poll.register(sock, select.EPOLLOUT)
    for fd, _ in poll.poll():
        sock = opening.pop(fd)
        poll.unregister(fd)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error: sys.exit(f"connection {len(opened)}: {os.strerror(error)}")
        sock.setblocking(True)
        opened.append(sock)
def exchange_all():
    random.shuffle(opened)
    for start in range(0, count, 250):
        some = opened[start:start + 250]
        for i, sock in enumerate(some): sock.sendall(f"{start + i:08}".encode() * 8)
        for i, sock in enumerate(some):
            got = b""
            while len(got) < 64:
                piece = sock.recv(64 - len(got))
                if not piece: sys.exit(f"connection {start + i} ended")
                got += piece
            if got != f"{start + i:08}".encode() * 8: sys.exit(f"connection {start + i}: {got}")
    print("all answered", flush=True)
exchange_all()
sys.stdin.readline()
exchange_all()
sys.stdin.readline()
for sock in opened: sock.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def needs(*programs):
    for program in programs:
        if not shutil.which(program, path="/usr/bin:/bin"):
            skip(f"no {program}")


def run(world, command, **more):
    return world.run(command, policy=POLICY, **more)


@contextlib.contextmanager
def server_of(command, port):
    """A server in the world, while it is needed."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers():
        assert process.poll() is None, f"{command}: exit {process.returncode}"
        with contextlib.suppress(OSError):
            socket.create_connection((ADDRESS, port), 5).close()
            return True
        return False

    try:
        assert poll(answers, 20), f"{command} does not listen"
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def iperf_server():
    needs("iperf3")
    with server_of(["iperf3", "-s", "-B", ADDRESS, "-p", str(IPERF)], IPERF):
        yield


def iperf(world, *options):
    command = ["iperf3", "-c", "whoami.example.test", "-4", "-p", str(IPERF), "--json", *map(str, options)]
    got = run(world, command, timeout=120).expect(0)
    told = json.loads(got.out)
    assert "error" not in told, told
    return told["end"]


@test("iperf3 carries bulk over 1 and 8 connections, both ways")
def _(world):
    with iperf_server():
        for streams in (1, 8):
            for direction in ((), ("-R",)):
                end = iperf(world, "-n", BULK, "-P", streams, *direction)
                assert len(end["streams"]) == streams, end
                assert end["sum_sent"]["bytes"] >= BULK, (streams, direction, end["sum_sent"])
                # iperf3 ends when all is sent: what is then on its way, 15 MiB a connection, it does not count.
                least = BULK // 2 if streams == 1 else 1
                assert end["sum_received"]["bytes"] >= least, (streams, direction, end["sum_received"])


@test("iperf3 carries datagrams over 1 and 8 flows, both ways")
def _(world):
    with iperf_server():
        for streams in (1, 8):
            for direction in ((), ("-R",)):
                end = iperf(world, "-u", "-n", MIB, "-l", 1400, "-b", "20M", "-P", streams, *direction)
                assert len(end["streams"]) == streams, end
                # Datagrams may be lost, where a socket's buffer is full because its reader does not get to run.
                total = end["sum"]
                assert total["packets"] >= MIB // 1400 and total["lost_percent"] < 90, (streams, direction, total)


@contextlib.contextmanager
def redis_server(world):
    needs("redis-server", "redis-cli", "redis-benchmark")
    folder = world.folder / "redis"
    folder.mkdir(exist_ok=True)
    with server_of(["redis-server", "--bind", ADDRESS, "--port", str(REDIS), "--save", "", "--protected-mode", "no", "--dir",
                    str(folder)], REDIS):
        yield


@test("redis-cli and redis-benchmark work: pipelines, large values, fifty clients, messages that the server pushes")
def _(world):
    cli = f"redis-cli -h whoami.example.test -p {REDIS} "
    with redis_server(world):
        got = run(world, cli + "ping; head -c 3000000 /dev/zero | tr '\\0' v | " + cli + "-x set large; " + cli + "strlen large; "
                  + cli + "get large | sha256sum; head -c 3000000 /dev/zero | tr '\\0' v | (cat; echo) | sha256sum").expect(0)
        pong, ok, size, back, sent = got.text.splitlines()
        assert (pong, ok, size) == ("PONG", "OK", "3000000") and back == sent, got
        got = run(world, cli + "subscribe news > /tmp/news & "
                  "until grep -q subscribe /tmp/news; do sleep 0.02; done; " + cli + "publish news hello; "
                  "until grep -q hello /tmp/news; do sleep 0.02; done; kill %1 2>/dev/null; echo pushed").expect(0)
        assert got.text.splitlines() == ["1", "pushed"], got
        got = run(world, ["redis-benchmark", "-h", "whoami.example.test", "-p", str(REDIS), "-n", "5000", "-c", "50", "-P", "16",
                          "-t", "ping,set,get", "--csv"], timeout=120).expect(0)
        tests = [line.split(",")[0] for line in got.text.splitlines()[1:]]
        assert tests == ['"PING_INLINE"', '"PING_MBULK"', '"SET"', '"GET"'], got
        assert got.told(transport="tcp", port=REDIS)["verdict"] == "allow"


@test("a server that speaks first is heard, and its client answers")
def _(world):
    heard = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
            heard.append(connection.recv(100))
            connection.sendall(b"bye\r\n")

    with socket.create_server((ADDRESS, SSH)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        got = world.python("import socket, sys\n"
                           f"s = socket.create_connection(('whoami.example.test', {SSH}), 20)\n"
                           "f = s.makefile('rwb')\n"
                           "print(f.readline().decode().strip())\n"
                           "s.sendall(b'SSH-2.0-guest\\r\\n')\n"
                           "print(f.read().decode().strip())", policy=POLICY).expect(0)
    assert got.text.splitlines() == ["SSH-2.0-OpenSSH_9.2p1 Debian-2", "bye"], got
    assert heard == [b"SSH-2.0-guest\r\n"], heard


@test("nc exchanges datagrams")
def _(world):
    needs("nc")

    def echo(server):
        with contextlib.suppress(OSError):
            while True:
                data, peer = server.recvfrom(65535)
                if not data:
                    return
                server.sendto(data.upper(), peer)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, ECHO))
        echoing = threading.Thread(target=echo, args=(server,))
        echoing.start()
        try:
            got = run(world, f"echo hello | nc -4 -u -W 1 -w 20 whoami.example.test {ECHO}").expect(0)
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", (ADDRESS, ECHO))
            echoing.join()
    assert got.text == "HELLO\n", got
    assert got.told(transport="udp", port=ECHO)["verdict"] == "allow"


@test("dig asks the sandbox's resolver over TCP and over UDP, and is told the same")
def _(world):
    needs("dig")
    got = run(world, "for way in +tcp +notcp; do dig $way +short api.example.test A; dig $way api.example.test A | grep -o 'status: [A-Z]*'; done")
    lines = got.expect(0).text.splitlines()
    assert lines[:2] == lines[2:] and lines[0].startswith("198.1") and "NOERROR" in lines[1], got
    got = run(world, "dig +tcp +keepopen +short api.example.test A whoami.example.test A").expect(0)
    assert len(got.text.split()) == 2 and all(a.startswith("198.1") for a in got.text.split()), got
    # Two questions, one connection.
    assert got.told(name="api.example.test")["flow"] == got.told(name="whoami.example.test")["flow"], got


@test("ping is answered over both protocols, small and large, and told what is not granted")
def _(world):
    needs("ping")
    subprocess.run([*netns.in_host(), "sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"], check=True)
    got = run(world, "ping -n -c 3 -i 0.2 -W 20 whoami.example.test && ping -n -c 1 -s 4000 -W 20 whoami.example.test && "
              f"ping -n -6 -c 1 -W 20 {ADDRESS6}").expect(0)
    assert [int(n) for n in re.findall(r"(\d+) received", got.text)] == [3, 1, 1], got
    assert "4008 bytes from" in got.text, got
    got = run(world, "ping -n -c 1 -W 20 11.0.0.80").expect(1)
    assert "Packet filtered" in got.text, got


def answer(listener):
    """Sends back what comes, on all connections, until LISTENER is shut down."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        for other in list(selector.get_map().values()):
                            if other.fileobj is not listener:
                                other.fileobj.close()
                        return
                    selector.register(connection, selectors.EVENT_READ)
                    continue
                try:
                    data = key.fileobj.recv(4096)
                    if data:
                        key.fileobj.sendall(data)
                        continue
                except OSError:
                    pass
                selector.unregister(key.fileobj)
                key.fileobj.close()


def go_on(running):
    running.process.stdin.write(b"\n")
    running.process.stdin.flush()


def number(world, name, **labels):
    told = json.loads(world.sandboxctl("stats", "--json").expect(0).text)["numbers"]
    value, = [n["value"] for n in told if n["name"] == name and labels.items() <= n["labels"].items()]
    return value


@test("thousands of connections are open at once, each works, and none is left")
def _(world):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1000:
        skip(f"no process may have more than {hard} open files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.create_server((ADDRESS, MANY), backlog=4096) as listener:
        serving = threading.Thread(target=answer, args=(listener,))
        serving.start()
        try:
            running = world.start(["python3", "-c", OPEN_MANY,
                                   "whoami.example.test", str(MANY), str(CONNECTIONS)], POLICY)
            assert running.process.stdout.readline() == b"all answered\n", running.finish(b"")
            assert number(world, "sallyport_flows", transport="tcp") >= CONNECTIONS
            go_on(running)
            assert running.process.stdout.readline() == b"all answered\n", running.finish(b"")
            # Idle again: nothing is held for anybody.
            assert poll(lambda: number(world, "sallyport_flow_buffered_bytes") == 0, 20)
            go_on(running)
            assert running.process.stdout.readline() == b"closed\n", running.finish(b"")
            assert poll(lambda: number(world, "sallyport_flows", transport="tcp") == 0, 30)
            result = running.finish(b"\n").expect(0)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not [r for r in result.audit if r["verdict"] != "allow"], result


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
