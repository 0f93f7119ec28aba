"""TCP and UDP through the gate, beside loopback, pasta and slirp4netns: bulk over 1 and 8
connections each way, new connections with 32 in flight, one exchange after the other, a thousand
connections that have exchanges, and a flood of datagrams (traffic.cc). Some of it through two and
four sandboxes at once, whose rates and costs are added up.

Client and server are on one machine and share its CPUs. The CPU time is of the warden, or of the
peer's process, alone: loopback has none. The server, the gate and the peers are in one namespace, so
that each reaches the server over loopback.

Two settings are the same in every namespace, so that neither the machine nor the mode before is
measured: reno (a host's BBR paces also what goes over loopback), and ports of connections that ended
may be used again (else tens of thousands of these leave none, and each connect() searches all).
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

from contenders import SERVER, Process, lines_of
from goals import Goal, ratio, tell
from harness import World, netns
from harness.sandbox import descendants
from measure import close_all, cpu_seconds, interleave, medians, table

PORT = 5001
SECONDS = 2
OURS, LOOPBACK = "sallyport", "loopback"
POLICY = (f'allow.tcp {{ ip = "{SERVER}", port = {PORT} }}\n'
          f'allow.udp {{ ip = "{SERVER}", port = {PORT} }}\n')

# mode -> (what it is, kind of traffic, connections, units in one shown, unit's name)
MODES = {
    "up1": ("guest to server, 1 stream", "up", 1, 1e9, "GB"),
    "up8": ("guest to server, 8 streams", "up", 8, 1e9, "GB"),
    "down1": ("server to guest, 1 stream", "down", 1, 1e9, "GB"),
    "down8": ("server to guest, 8 streams", "down", 8, 1e9, "GB"),
    "connect32": ("connect, request, close, 32 in flight", "request", 32, 1, "connection"),
    "pingpong": ("64 bytes there and back", "pingpong", 1, 1, "exchange"),
    "pingpong1000": ("64 bytes there and back, 1,000 connections", "pingpong", 1000, 1, "exchange"),
    "flood": ("datagrams of 64 bytes", "flood", 1, 1, "datagram"),
}
# How many sandboxes at once, in which modes.
SEVERAL = (2, 4)
SHARED = ("up1", "down1", "connect32")
# (mode, peer, ours is at least this times the peer's rate)
RATES = [("up1", LOOPBACK, 0.6), ("down1", LOOPBACK, 0.8), ("up8", LOOPBACK, 0.6),
         ("down8", LOOPBACK, 0.6), *((mode, peer, bound) for mode in ("up1", "up8", "down1", "down8")
                                     for peer, bound in (("pasta", 1.3), ("slirp4netns", 4))),
         ("connect32", "pasta", 1.3), ("connect32", "slirp4netns", 10), ("flood", "pasta", 1.8)]
# (mode, CPU seconds a GB at most)
CPU = [("up1", 0.26), ("down1", 0.20), ("down8", 0.20)]
THOUSAND = "pingpong1000"
RESIDENT = 12 << 20  # Of the gate's process at most, while 1,000 connections are busy.
SETTINGS = ("echo reno > /proc/sys/net/ipv4/tcp_congestion_control\n"
            "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse\n"
            "echo 16 > /proc/sys/net/ipv4/tcp_max_tw_buckets\n")


class Client:
    """Runs the traffic's client and charges what PIDS() spend to it."""

    def __init__(self, pids, *closing):
        self.pids, self._closing = pids, closing

    def run(self, mode, seconds=SECONDS):
        _, kind, count, unit, _ = MODES[mode]
        pids = self.pids()
        before = cpu_seconds(pids)
        told = self.execute(f"{kind} {SERVER} {PORT} {count} {seconds}")
        found = re.search(r"units (\d+) rate ([\d.]+)(?: p50 ([\d.]+))?", told)
        if not found or not int(found.group(1)):
            raise RuntimeError(f"{mode}: {told}")
        units = int(found.group(1)) / unit
        figures = {"units": units, "rate": float(found.group(2)) / unit,
                   "cpu": (cpu_seconds(pids) - before) / units}
        if found.group(3):
            figures["p50"] = float(found.group(3))
        return figures

    def execute(self, words):
        raise NotImplementedError

    def close(self):
        for part in self._closing:
            part.close()


class Guest(Client):
    """A client in a sandbox, which gets the program through its shell's standard input."""

    def __init__(self, world, program):
        data = program.read_bytes()
        shell = (f"head -c {len(data)} > /tmp/traffic; chmod +x /tmp/traffic; echo END\n"
                 "while read -r line; do /tmp/traffic $line; echo END; done")
        self.running = world.start(["bash", "-c", shell], policy=POLICY, stderr=subprocess.STDOUT)
        self.running.process.stdin.write(data)
        self.running.process.stdin.flush()
        self._until_end()
        parts = descendants(self.running.pid)
        settle(enter(next(p for p, n in parts if n == "bash")))
        wardens = [p for p, n in parts if n == "sandbox-warden"]
        super().__init__(lambda: wardens)
        self._peaks = {}

    def run(self, mode, seconds=SECONDS):
        # 5: the most memory that it has had is what it has now.
        pathlib.Path(f"/proc/{self.pids()[0]}/clear_refs").write_text("5\n")
        figures = super().run(mode, seconds)
        status = pathlib.Path(f"/proc/{self.pids()[0]}/status").read_text()
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
        self._peaks[mode] = max(peak, self._peaks.get(mode, 0))
        return figures

    def resident(self, modes=tuple(MODES)):
        """The most memory that the gate's process has had in MODES."""
        return max((self._peaks.get(mode, 0) for mode in modes), default=0)

    def execute(self, words):
        self.running.process.stdin.write(words.encode() + b"\n")
        self.running.process.stdin.flush()
        return self._until_end()

    def _until_end(self):
        output = b""
        for line in lines_of(self.running.process):
            if line == b"END\n":
                return output.decode()
            output += line
        raise RuntimeError(f"the sandbox ended: {output.decode()} {self.running.finish()}")

    def close(self):
        self.running.finish()


class Several:
    """The same through all of GUESTS at once."""

    def __init__(self, guests):
        self._guests = guests

    def run(self, mode):
        with concurrent.futures.ThreadPoolExecutor(len(self._guests)) as pool:
            each = list(pool.map(lambda guest: guest.run(mode), self._guests))
        units = sum(one["units"] for one in each)
        return {"units": units, "rate": sum(one["rate"] for one in each),
                "cpu": sum(one["cpu"] * one["units"] for one in each) / units}


def settle(prefix):
    """SETTINGS in the network namespace that commands with PREFIX run in."""
    subprocess.run([*prefix, "sh", "-ec", SETTINGS], check=True)


def enter(pid):
    """The words before a command that runs in the Namespace of PID."""
    return ["nsenter", "-t", str(pid), "-U", "--preserve-credentials", "-n"]


class Inside(Client):
    """A client in the network namespace of process NAMESPACE (None: in the server's)."""

    def __init__(self, program, namespace, pids, *closing):
        super().__init__(pids, *closing)
        self._command = [*(enter(namespace) if namespace else netns.in_host()), str(program)]

    def execute(self, words):
        process = subprocess.Popen([*self._command, *words.split()], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = b"".join(lines_of(process)).decode()
        process.stdout.close()
        if process.wait() != 0:
            raise RuntimeError(f"{words}: {output}")
        return output


class Namespace:
    """A network namespace that ends with us, owned by a user namespace: pasta enters no other."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "-r", "-n", "sh", "-c", "echo; exec cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        self.pid = self._holder.pid
        settle(enter(self.pid))

    def routed(self):
        """Whether something has given it a way out."""
        shown = subprocess.run([*enter(self.pid), "ip", "route", "show", "default"],
                               capture_output=True, text=True, check=False)
        return "default" in shown.stdout

    def close(self):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()


def _behind(program, command, namespace, log):
    """A client in NAMESPACE, which the program COMMAND connects."""
    try:
        process = Process([*netns.in_host(), *command], log)
        process.wait_for(namespace.routed)
    except RuntimeError:
        namespace.close()
        raise
    return Inside(program, namespace.pid, process.tree, process, namespace)


def slirp4netns(world, program):
    namespace = Namespace()
    return _behind(program, ["slirp4netns", "--configure", "--mtu=65520", "--disable-dns",
                             str(namespace.pid), "tap0"], namespace, world.folder / "slirp.log")


def pasta(world, program):
    """It copies the addresses of the interface that has the host's default route."""
    namespace = Namespace()
    return _behind(program, ["pasta", "--foreground", "--quiet", "--runas", "0", "--config-net",
                             "--ipv4-only", "--mtu", "65520", "--tcp-ports", "none",
                             "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none",
                             str(namespace.pid)], namespace, world.folder / "pasta.log")


PEERS = {"pasta": (pasta, "passt"), "slirp4netns": (slirp4netns, "slirp4netns")}


def _start(world, program, running):
    host = netns.in_host()
    subprocess.run([*host, "ip", "address", "add", f"{SERVER}/32", "dev", "lo"], check=True)
    server = Process([*host, str(program), "serve", str(PORT)], world.folder / "server.log")
    running.append(server)
    server.wait_for(lambda: "ready" in (world.folder / "server.log").read_text())
    found = {OURS: Guest(world, program), LOOPBACK: Inside(program, None, list)}
    running += found.values()
    for name, (start, package) in PEERS.items():
        if not shutil.which(name):
            print(f"left out: {name} is not installed: apt-get install {package}",
                  file=sys.stderr)
            continue
        try:
            found[name] = start(world, program)
            running.append(found[name])
        except RuntimeError as why:
            print(f"left out: {name}, which does not start: {why}", file=sys.stderr)
    return found


def collect(built, rounds):
    """mode -> name -> samples; and the memory of the gate: with 1,000 connections, and at most."""
    world = World()
    running, results = [], {}
    try:
        settle(netns.in_host())
        program = world.folder / "traffic"
        subprocess.run(["strip", "-o", str(program), str(built)], check=True)
        found = _start(world, program, running)
        guests = [found[OURS]] + [Guest(world, program) for _ in range(max(SEVERAL) - 1)]
        running += guests[1:]
        several = {f"{OURS}, {count} sandboxes": Several(guests[:count]) for count in SEVERAL}
        for mode in MODES:

            def drop(name, why, mode=mode):
                print(f"left out: {mode} with {name}, which fails at it: {why}", file=sys.stderr)

            able = {name: lambda client=client, mode=mode: client.run(mode)
                    for name, client in [*found.items(), *(several.items() if mode in SHARED else ())]}
            results[mode] = interleave(able, rounds, drop=drop)
        resident = {"resident": found[OURS].resident((THOUSAND,)),
                    "peak": found[OURS].resident()}
    finally:
        close_all(world, *running)
    return results, resident


def show(middle):
    rows = []
    for mode, by_name in middle.items():
        what, _, _, _, unit = MODES[mode]
        for name, one in by_name.items():
            cpu = f"{one['cpu']:.3f} s/GB" if unit == "GB" else f"{one['cpu'] * 1e6:.1f} us"
            rows.append([f"{what}: {name}",
                         f"{one['rate']:.3f} GB/s" if unit == "GB" else f"{one['rate']:.0f} /s",
                         f"{one['p50']:.0f} us" if "p50" in one else "",
                         "-" if name == LOOPBACK else cpu])
    table(["", "rate", "p50", "CPU of the middle"], rows)


def judge(middle, resident):
    verdicts = [Goal("memory of the gate's process, with 1,000 connections", RESIDENT >> 20,
                     "MiB").judge(resident["resident"] / (1 << 20))]
    for mode, peer, bound in RATES:
        value, why_not = ratio(middle.get(mode, {}), "rate", OURS, peer)
        goal = Goal(f"rate of {MODES[mode][0]}", bound, f"x {peer}'s", at_least=True)
        verdicts.append(goal.judge(value, why_not))
    value, why_not = ratio(middle.get("pingpong", {}), "p50", OURS, "pasta")
    verdicts.append(Goal(f"median time of {MODES['pingpong'][0]}", 1, "x pasta's").judge(value, why_not))
    for mode, bound in CPU:
        found = middle.get(mode, {}).get(OURS)
        goal = Goal(f"CPU of {MODES[mode][0]}", bound, "s/GB")
        verdicts.append(goal.judge(found and found["cpu"], f"{OURS} was left out"))
    return verdicts


def measure(arguments):
    rounds = arguments.rounds or 5
    built = pathlib.Path(arguments.bin).parent / "bench" / "traffic"
    if not built.exists():
        raise SystemExit(f"bench: no {built}; "
                         "cmake --build --preset release --target traffic makes it")
    results, resident = collect(built, rounds)
    print(f"TCP and UDP, {rounds} rounds, interleaved, {os.cpu_count()} CPUs for client, gate and server")
    middle = {mode: medians(by_name) for mode, by_name in results.items()}
    show(middle)
    return {"rounds": rounds, "medians": middle, **resident,
            "goals": tell(judge(middle, resident)), "samples": results}
