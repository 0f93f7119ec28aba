"""Who is measured: the gate, and proxies that do the same job, each with one worker on the same machine.

The client of each but the gate sits in a network namespace of its own and reaches it over veth, as the guest reaches
the gate over its link; the proxies reach the server over loopback, as the gate does. All verify the server, keep
connections to it open where they can, and set the same header. None lets clients take up a session or writes a log of
requests, except the gate: its audit log is on, as always.
"""

import ctypes
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import time

from harness.nginx import Nginx
from harness.sandbox import descendants
from loads import BULK, CLIENT, HOLD, IDLE, MODES, read_figures
from measure import cpu_seconds

HOST = "api.example.test"
VALUE = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
NGINX, SQUID, MITMPROXY, SERVER = "11.0.0.91", "11.0.0.92", "11.0.0.93", "11.0.0.80"

ONE_SECRET = f"""
allow.http {{ host = "{HOST}" }}
secret "TOKEN" {{ from = env "TOKEN", hosts = {{ "{HOST}" }} }}
"""
NO_SECRET = f'allow.http {{ host = "{HOST}" }}\n'
FOUR_SECRETS = ONE_SECRET.replace('"TOKEN" {', '"TOKEN" { body = "text",') + "".join(
    f'secret "TOKEN{i}" {{ from = env "TOKEN{i}", hosts = {{ "{HOST}" }}, body = "text" }}\n' for i in (2, 3, 4))


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

    def run(self, mode):
        pids = list(self.pids)
        before, held = cpu_seconds(pids), _rss(pids)
        most = held

        def look():
            nonlocal most
            most = max(most, _rss(pids))

        figures = read_figures(mode, self.execute(MODES[mode][1], look if mode == "idle" else None))
        figures["cpu"] = (cpu_seconds(pids) - before) / figures["units"]
        if mode == "idle":
            figures["bytes"] = (most - held) / IDLE
        return figures

    def close(self):
        pass


class Sandbox(Contender):
    """A sandbox whose shell runs one command after the other; the warden's time counts."""

    def __init__(self, world, policy):
        values = {f"TOKEN{i}": f"{i}{VALUE}" for i in (2, 3, 4)}
        (world.folder / "client.py").write_text(CLIENT)
        self.client = "/tmp/client.py"
        shell = (f"cat > {self.client} <<'END'\n{CLIENT}\nEND\nyes '{{\"a record\": 4711}}' | head -c {BULK} > /tmp/up\n"
                 'export UP=/tmp/up TOKEN="${TOKEN:-none}"\n'
                 'echo END; while read -r line; do eval "$line"; echo END; done')
        self.running = world.start(["bash", "-c", shell], policy=policy, env={"TOKEN": VALUE, **values},
                                   stderr=subprocess.STDOUT)
        self._until_end(None)
        self.pids = [p for p, n in descendants(self.running.pid) if n == "sandbox-warden"]

    def execute(self, command, look):
        command = command.replace("URL", f"https://{HOST}").replace("CLIENT", self.client)
        self.running.process.stdin.write(command.encode() + b"\n")
        self.running.process.stdin.flush()
        return self._until_end(look)

    def _until_end(self, look):
        output = b""
        while not output.endswith(b"END\n"):
            line = self.running.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the sandbox ended: {output.decode()} {self.running.finish()}")
            output += line
            if look and line.startswith(b"p50"):
                time.sleep(HOLD / 2)
                look()
        return output[:-4].decode()

    def close(self):
        self.running.finish()


class Outside(Contender):
    """A client in the client's namespace that finds HOST at ADDRESS."""

    def __init__(self, network, address, process=None, pids=lambda: ()):
        self.network, self.process, self._find = network, process, pids
        self.hosts = network.hosts(address)

    @property
    def pids(self):
        return self._find()

    def execute(self, command, look):
        command = command.replace("URL", f"https://{HOST}").replace("CLIENT", str(self.network.client))
        environment = {"TOKEN": VALUE, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "UP": str(self.network.upload)}
        process = subprocess.Popen(self.network.inside(self.network.guest, self.hosts, command), env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = b""
        for line in process.stdout:
            output += line
            if look and line.startswith(b"p50"):
                time.sleep(HOLD / 2)
                look()
        process.stdout.close()
        if process.wait() != 0:
            raise RuntimeError(f"{command}: {output.decode()}")
        return output.decode()

    def close(self):
        if self.process:
            self.process.close()


class _Process:
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
    """Adds to the world's namespace: one for the clients and one for squid, which stands in the path to SQUID.

        client 11.0.1.2 ── 11.0.1.1 world       client 11.0.3.2 ── 11.0.3.1 squid 11.0.2.2 ── 11.0.2.1 world
    """

    def __init__(self, world):
        self.world, self._holders, self._hosts = world, [], {}
        self.client = world.folder / "client.py"
        self.client.write_text(CLIENT)
        self.upload = world.nginx.root / "bulk"
        self.guest = self._namespace()
        self._ip(None, f"link add toguest type veth peer name out netns {self.guest}", "addr add 11.0.1.1/30 dev toguest",
                 "link set toguest up", *(f"addr add {a}/32 dev lo" for a in (NGINX, SQUID, MITMPROXY)))
        self._ip(self.guest, "link set lo up", "addr add 11.0.1.2/30 dev out", "link set out up",
                 "route add default via 11.0.1.1")

    def add_middle(self):
        """The namespace that clients cross on their way to SQUID."""
        middle = self._namespace()
        self._ip(None, f"link add tomiddle type veth peer name out netns {middle}", "addr add 11.0.2.1/30 dev tomiddle",
                 "link set tomiddle up", "route add 11.0.3.0/30 via 11.0.2.2")
        self._ip(middle, "link set lo up", "addr add 11.0.2.2/30 dev out", "link set out up",
                 "route add default via 11.0.2.1", f"link add toguest type veth peer name squid netns {self.guest}",
                 "addr add 11.0.3.1/30 dev toguest", "link set toguest up")
        self._ip(self.guest, "addr add 11.0.3.2/30 dev squid", "link set squid up",
                 f"route add {SQUID}/32 via 11.0.3.1")
        return middle

    def _namespace(self):
        holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()
        self._holders.append(holder)
        return holder.pid

    @staticmethod
    def _ip(namespace, *commands):
        enter = ["nsenter", "-t", str(namespace), "-n"] if namespace else []
        subprocess.run([*enter, "ip", "-batch", "-"], input="\n".join(commands).encode(), check=True)

    def hosts(self, address):
        """A hosts file in which HOST is ADDRESS."""
        path = self.world.folder / f"hosts-{address}"
        path.write_text(f"127.0.0.1 localhost\n{address} {HOST}\n")
        return path

    @staticmethod
    def inside(namespace, hosts, command):
        """The command line that runs COMMAND there, with HOSTS."""
        enter = ["nsenter", "-t", str(namespace), "-n"] if namespace else []
        return [*enter, "unshare", "-m", "sh", "-c", f"mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec {command}"]

    def close(self):
        for holder in self._holders:
            holder.stdin.close()
            holder.stdout.close()
            holder.wait()


def direct(network):
    return Outside(network, SERVER)


def nginx(network):
    """A static reverse proxy that terminates TLS and encrypts again."""
    world = network.world
    folder = world.folder / "proxy"
    proxy = Nginx(folder, [(NGINX, 443, (world.ca.folder / "api.pem", world.ca.folder / "api.key"))])
    proxy.close()
    text = (folder / "nginx.conf").read_text().replace("worker_processes 2", "worker_processes 1")
    text = text.replace("  server {", f"  upstream server {{ server {SERVER}:443; keepalive 64; "
                        "keepalive_requests 1000000; }\n  ssl_session_tickets off;\n  server {", 1)
    text = text.replace("location = /kib", "location = /unused").replace("location / { }", f"""location / {{
      proxy_pass https://server; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host {HOST}; proxy_set_header Authorization "Bearer {VALUE}";
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {world.ca.ca}; proxy_ssl_session_reuse on;
      proxy_ssl_name {HOST}; proxy_ssl_server_name on; proxy_buffering off; proxy_request_buffering off; }}""")
    (folder / "nginx.conf").write_text(text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = _Process([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], folder / "log")
    process.wait_for((folder / "nginx.pid").exists)
    worker = [pid for pid, _ in descendants(process.process.pid)]
    return Outside(network, NGINX, process, lambda: worker)


def squid(network):
    """ssl-bump of what crosses its namespace: peek at the name, then bump with a certificate minted and cached. The
    time of its certificate helper counts."""
    program, helper = "/usr/sbin/squid", "/usr/lib/squid/security_file_certgen"
    world, folder = network.world, network.world.folder / "squid"
    if not os.path.exists(helper) or not shutil.which("iptables-legacy", path=os.environ["PATH"] + ":/usr/sbin"):
        raise FileNotFoundError("squid-openssl and iptables")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    certificate = world.ca.folder / "api.pem", world.ca.folder / "api.key"
    origin = Nginx(world.folder / "behind-squid", [(SQUID, 443, certificate)])
    world._closing.append(origin)
    os.link(world.nginx.root / "bulk", origin.root / "bulk")
    subprocess.run([helper, "-c", "-s", str(folder / "db"), "-M", "4MB"], check=True, capture_output=True)
    subprocess.run(["chown", "-R", "proxy", str(folder)], check=True)
    middle = network.add_middle()
    subprocess.run(["nsenter", "-t", str(middle), "-n", "iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-i",
                    "toguest", "-p", "tcp", "--dport", "443", "-j", "REDIRECT", "--to-ports", "3129"], check=True)
    both = folder / "both.pem"
    both.write_text(world.ca.ca.read_text() + (world.ca.folder / "ca.key").read_text())
    (folder / "squid.conf").write_text(f"""
http_port 11.0.2.2:3128
https_port 3129 intercept ssl-bump tls-cert={both} generate-host-certificates=on dynamic_cert_mem_cache_size=4MB options=NO_TICKET
sslcrtd_program {helper} -s {folder}/db -M 4MB
sslcrtd_children 1 startup=1
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile={world.ca.ca}
request_header_access Authorization deny all
request_header_replace Authorization Bearer {VALUE}
http_access allow all
cache deny all
cache_mem 0 MB
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
dns_nameservers 11.0.0.53
via off
forwarded_for delete
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
max_filedescriptors 4096
""")
    process = _Process(["nsenter", "-t", str(middle), "-n", program, "-N", "-f", str(folder / "squid.conf")],
                       folder / "log")
    process.wait_for(lambda: (folder / "squid.pid").exists() and len(process.tree()) > 1)
    return Outside(network, SQUID, process, process.tree)


def mitmproxy(network):
    """A reverse proxy with an add-on that sets the header; bodies are streamed."""
    program = shutil.which("mitmdump")
    if not program:
        raise FileNotFoundError("mitmproxy")
    world, folder = network.world, network.world.folder / "mitmproxy"
    folder.mkdir()
    (folder / "set_header.py").write_text(f"def requestheaders(flow):\n"
                                          f"    flow.request.headers['Authorization'] = 'Bearer {VALUE}'\n")
    both = folder / "both.pem"
    both.write_text((world.ca.folder / "api.key").read_text() + (world.ca.folder / "api.pem").read_text())
    command = " ".join([program, "--mode", f"reverse:https://{HOST}", "--listen-host", MITMPROXY,
                        "--listen-port", "443", "--certs", f"'*={both}'", "--set", f"confdir={folder}",
                        "--set", f"ssl_verify_upstream_trusted_ca={world.ca.ca}", "--set", "flow_detail=0",
                        "--set", "stream_large_bodies=1m", "--set", "termlog_verbosity=error",
                        "--set", "block_global=false",
                        "--set", "keep_host_header=true", "-s", str(folder / "set_header.py")])
    process = _Process(network.inside(None, network.hosts(SERVER), command), folder / "log")
    process.wait_for(lambda: f"{MITMPROXY}:443" in subprocess.run(["ss", "-Hltn"], capture_output=True,
                                                                text=True, check=True).stdout)
    return Outside(network, MITMPROXY, process, process.tree)
