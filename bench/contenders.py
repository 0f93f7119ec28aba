"""Who is measured: a sandbox with its gate, and clients outside of one, on their way to proxies.

The client of each but the gate sits in a network namespace of its own and reaches it over veth, as
the guest reaches the gate over its link; the gate and the proxies all reach the server over one
more veth. proxies.py starts them.
"""

import ctypes
import os
import pathlib
import re
import shlex
import subprocess
import threading
import time

from harness import netns
from harness.sandbox import descendants
from loads import (BULK, CLIENT, HOLD, HOST, IDLE, SECONDS, WARM_SECONDS, command_of,
                   read_figures)
from measure import cpu_seconds

VALUE = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
NGINX, SQUID, MITMPROXY, SERVER = "11.0.0.91", "11.0.0.92", "11.0.0.93", "11.0.0.80"
PATIENCE = 90  # Seconds for one run of a mode; the slowest need 20.

ONE_SECRET = f"""
allow.http {{ host = "{HOST}" }}
secret "TOKEN" {{ from = env "TOKEN", hosts = {{ "{HOST}" }} }}
"""
NO_SECRET = f'allow.http {{ host = "{HOST}" }}\n'
FOUR_SECRETS = ONE_SECRET.replace('"TOKEN" {', '"TOKEN" { body = "text",') + "".join(
    f'secret "TOKEN{i}" {{ from = env "TOKEN{i}", hosts = {{ "{HOST}" }}, body = "text" }}\n'
    for i in (2, 3, 4))


def _rss(pids):
    """Bytes of anonymous memory that PIDS hold."""
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.M).group(1)) * 1024
    return total


class Contender:
    """Runs a mode's command with execute(), and charges what PIDS spend to it."""

    pids = ()
    client = None  # The path of loads.CLIENT, where the command runs.

    def run(self, mode, warm_up=False):
        """The figures of MODE; raises RuntimeError when the client did not get what it wanted."""
        pids = list(self.pids)
        before, held = cpu_seconds(pids), _rss(pids)
        most = held

        def look():
            nonlocal most
            most = max(most, _rss(pids))

        command = command_of(mode, self.client, WARM_SECONDS if warm_up else SECONDS)
        output = self.execute(command, look if mode == "idle" else None)
        try:
            figures = read_figures(mode, output)
        except (AttributeError, ValueError, IndexError) as why:  # Not what the client prints.
            raise RuntimeError(f"{why}: {output[-2000:]}") from why
        if not figures["units"]:
            raise RuntimeError(f"nothing was answered: {output[-2000:]}")
        figures["cpu"] = (cpu_seconds(pids) - before) / figures["units"]
        if mode == "idle":
            figures["bytes"] = (most - held) / IDLE
        return figures

    def execute(self, command, look):
        """What COMMAND prints; LOOK is called while it holds its connections."""
        raise NotImplementedError

    def close(self):
        pass


def lines_of(process, look=None):
    """The lines of PROCESS, which is ended when it takes too long."""
    timer = threading.Timer(PATIENCE, process.kill)
    timer.daemon = True
    timer.start()
    try:
        for line in process.stdout:
            yield line
            if look and line.startswith(b"p50"):
                time.sleep(HOLD / 2)
                look()
    finally:
        timer.cancel()


class Sandbox(Contender):
    """A sandbox whose shell runs one command after the other; the warden's time counts."""

    client = "/tmp/client.py"

    def __init__(self, world, policy):
        values = {f"TOKEN{i}": f"{i}{VALUE}" for i in (2, 3, 4)}
        shell = (f"cat > {self.client} <<'END'\n{CLIENT}\nEND\n"
                 f"yes '{{\"a record\": 4711}}' | head -c {BULK} > /tmp/up\n"
                 'export UP=/tmp/up TOKEN="${TOKEN:-none}"\n'
                 'echo END; while read -r line; do eval "$line"; echo END; done')
        self.running = world.start(["bash", "-c", shell], policy=policy,
                                   env={"TOKEN": VALUE, **values}, stderr=subprocess.STDOUT)
        self._until_end(None)
        self.pids = [p for p, n in descendants(self.running.pid) if n == "sandbox-warden"]

    def execute(self, command, look):
        self.running.process.stdin.write(command.encode() + b"\n")
        self.running.process.stdin.flush()
        return self._until_end(look)

    def _until_end(self, look):
        output = b""
        for line in lines_of(self.running.process, look):
            output += line
            if output.endswith(b"END\n"):
                return output[:-4].decode()
        raise RuntimeError(f"the sandbox ended: {output.decode()} {self.running.finish()}")

    def close(self):
        self.running.finish()


class Outside(Contender):
    """A client in the client's namespace that finds HOST at ADDRESS; the time of what PIDS()
    returns counts, and PROCESS is closed with it."""

    def __init__(self, network, address, process=None, pids=lambda: ()):
        self.network, self.process, self._find = network, process, pids
        self.hosts, self.client = network.hosts(address), network.client

    @property
    def pids(self):
        return self._find()

    def execute(self, command, look):
        environment = {"TOKEN": VALUE, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                       "UP": str(self.network.upload)}
        process = subprocess.Popen(self.network.in_guest(self.hosts, command),
                                   env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = b"".join(lines_of(process, look))
        process.stdout.close()
        if process.wait() != 0:
            raise RuntimeError(f"{command}: {output.decode()}")
        return output.decode()

    def close(self):
        if self.process:
            self.process.close()


class Process:
    """A program that ends with us at the latest."""

    def __init__(self, argv, log):
        with open(log, "wb") as out:
            libc = ctypes.CDLL(None)
            self.log = log
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            preexec_fn=lambda: libc.prctl(1, 9, 0, 0, 0))

    def wait_for(self, ready):
        deadline = time.monotonic() + 30
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError(pathlib.Path(self.log).read_text(errors="replace"))
            time.sleep(0.05)

    def tree(self):
        return [self.process.pid] + [pid for pid, _ in descendants(self.process.pid)]

    def close(self):
        for pid in reversed(self.tree()):
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Network:
    """Adds to the host's namespace, where the gate is, the addresses of the proxies; and namespaces:
    one for the clients, and one for squid, which stands in the path to SQUID.

        client 11.0.1.2 ── 11.0.1.1 host (proxies) 11.0.254.2 ── 11.0.254.1 world (servers)
        client 11.0.3.2 ── 11.0.3.1 squid 11.0.2.2 ────────────── 11.0.2.1 world
        client 11.0.4.2 ───────────────────────────────────────── 11.0.4.1 world (the direct way)
    """

    def __init__(self, world):
        self.world, self._holders = world, []
        self.client = world.folder / "client.py"
        self.client.write_text(CLIENT)
        self.upload = world.nginx.root / "bulk"
        self.guest = self._namespace()
        _ip(netns.in_host(), f"link add toguest type veth peer name out netns {self.guest}",
            "addr add 11.0.1.1/30 dev toguest", "link set toguest up",
            *(f"addr add {a}/32 dev lo" for a in (NGINX, MITMPROXY)))
        _ip([], f"link add toguest type veth peer name direct netns {self.guest}",
            "addr add 11.0.4.1/30 dev toguest", "link set toguest up",
            f"addr add {SQUID}/32 dev lo")
        _ip(_enter(self.guest), "link set lo up", "addr add 11.0.1.2/30 dev out",
            "link set out up", "route add default via 11.0.1.1",
            "addr add 11.0.4.2/30 dev direct", "link set direct up",
            f"route add {SERVER}/32 via 11.0.4.1")

    def add_middle(self):
        """The namespace that clients cross on their way to SQUID."""
        middle = self._namespace()
        _ip([], f"link add tomiddle type veth peer name out netns {middle}",
            "addr add 11.0.2.1/30 dev tomiddle", "link set tomiddle up",
            "route add 11.0.3.0/30 via 11.0.2.2")
        _ip(_enter(middle), "link set lo up", "addr add 11.0.2.2/30 dev out", "link set out up",
            "route add default via 11.0.2.1",
            f"link add toguest type veth peer name squid netns {self.guest}",
            "addr add 11.0.3.1/30 dev toguest", "link set toguest up")
        _ip(_enter(self.guest), "addr add 11.0.3.2/30 dev squid", "link set squid up",
            f"route add {SQUID}/32 via 11.0.3.1")
        return middle

    def _namespace(self):
        holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        self._holders.append(holder)
        return holder.pid

    def hosts(self, address):
        """A hosts file in which HOST is ADDRESS."""
        path = self.world.folder / f"hosts-{address}"
        path.write_text(f"127.0.0.1 localhost\n{address} {HOST}\n")
        return path

    def in_guest(self, hosts, command):
        """The command line that runs COMMAND as a client, with HOSTS."""
        return [*_enter(self.guest), *with_hosts(hosts, command)]

    def close(self):
        for holder in self._holders:
            holder.stdin.close()
            holder.stdout.close()
            holder.wait()


def with_hosts(hosts, command):
    """The command line that runs COMMAND with HOSTS as its hosts file."""
    script = f"mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec {command}"
    return ["unshare", "-m", "sh", "-c", script]


def _enter(namespace):
    return ["nsenter", "-t", str(namespace), "-n"]


def _ip(prefix, *commands):
    subprocess.run([*prefix, "ip", "-batch", "-"], input="\n".join(commands).encode(), check=True)
