"""HTTPS through the whole gate, with a secret swapped in every request: against the direct way, and against nginx as
a proxy that terminates TLS, sets a static header and encrypts again.

All in one network namespace on one machine: the client, the gate or proxy, and the server (nginx) share its CPUs, so
the rates say what the machine does in total; the CPU time of the warden and of the proxy is theirs alone.
"""

import os
import re
import shutil
import subprocess
import tempfile

from harness import World
from harness.nginx import Nginx
from harness.sandbox import descendants
from measure import cpu_seconds, interleave, median, table

POLICY = """
allow.http { host = "api.example.test" }
secret "TOKEN" { from = env "TOKEN", hosts = { "api.example.test" } }
"""
VALUE = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
BULK = 512 << 20
SECONDS = 3

# name -> the command; $TOKEN is the credential, URL the server.
LOADS = {
    "GET 1 KiB, 1 in flight": f"wrk -t1 -c1 -d{SECONDS}s -H \"Authorization: Bearer $TOKEN\" URL/kib",
    "GET 1 KiB, 32 in flight": f"wrk -t1 -c32 -d{SECONDS}s -H \"Authorization: Bearer $TOKEN\" URL/kib",
    "new connection each, 8 in flight":
        f"wrk -t1 -c8 -d{SECONDS}s -H \"Authorization: Bearer $TOKEN\" -H \"Connection: close\" URL/kib",
    "download 512 MiB": "curl -sS --http1.1 -o /dev/null -w '%{speed_download}\\n' "
                        "-H \"Authorization: Bearer $TOKEN\" URL/bulk",
    "upload 512 MiB": "curl -sS --http1.1 -o /dev/null -w '%{speed_upload}\\n' -T $UP "
                      "-H \"Authorization: Bearer $TOKEN\" URL/put",
}


def read_figures(load, output):
    if load.endswith("MiB"):
        return {"rate": float(output.split()[-1]) / 1e6, "units": BULK / 1e9}
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    if errors:
        raise RuntimeError(f"{load}: {errors.group(0)}\n{output}")
    return {"rate": rate, "units": requests}


class Sandbox:
    """A sandbox whose shell runs one command after the other."""

    def __init__(self, world):
        shell = f'truncate -s {BULK} /tmp/up; export UP=/tmp/up; while read -r line; do eval "$line"; echo END; done'
        self.running = world.start(["sh", "-c", shell], policy=POLICY, env={"TOKEN": VALUE})
        self.wardens = None

    def run(self, load):
        self.wardens = self.wardens or [p for p, n in descendants(self.running.pid) if n == "sandbox-warden"]
        before = cpu_seconds(self.wardens) if self.wardens else 0
        command = LOADS[load].replace("URL", "https://api.example.test")
        self.running.process.stdin.write(command.encode() + b"\n")
        self.running.process.stdin.flush()
        output = b""
        while not output.endswith(b"END\n"):
            line = self.running.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{load}: {self.running.finish()}")
            output += line
        self.wardens = self.wardens or [p for p, n in descendants(self.running.pid) if n == "sandbox-warden"]
        figures = read_figures(load, output[:-4].decode())
        return {**figures, "cpu": (cpu_seconds(self.wardens) - before) / figures["units"]}

    def close(self):
        self.running.finish()


def outside(world, load, address, pids):
    """The same load without a sandbox, to ADDRESS."""
    environment = {"TOKEN": VALUE, "PATH": os.environ["PATH"], "CURL_CA_BUNDLE": str(world.ca.ca),
                   "UP": str(world.nginx.root / "bulk")}
    command = LOADS[load].replace("URL", "https://api.example.test")
    if "curl" in command:
        command = command.replace("curl", f"curl --resolve api.example.test:443:{address}")
    else:
        command = command.replace("https://api.example.test", f"https://{address}")
        command = command.replace(" -H", " -H \"Host: api.example.test\" -H", 1)
    before = cpu_seconds(pids)
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    figures = read_figures(load, done.stdout)
    return {**figures, "cpu": (cpu_seconds(pids) - before) / figures["units"]}


def proxy_nginx(world):
    """nginx with one worker that terminates TLS, sets the header, and encrypts again, verifying the server."""
    folder = world.folder / "proxy"
    subprocess.run(["ip", "addr", "add", "11.0.0.91/32", "dev", "lo"], check=True)
    certificate = world.ca.folder / "api.pem", world.ca.folder / "api.key"
    proxy = Nginx(folder, [("11.0.0.91", 443, certificate)])
    proxy.close()
    text = (folder / "nginx.conf").read_text().replace("worker_processes 2", "worker_processes 1")
    upstream = ("upstream server { server 11.0.0.80:443; keepalive 64; }\n  server {")
    text = text.replace("  server {", "  " + upstream, 1)
    text = text.replace("location = /kib", "location = /unused").replace("location / { }", """location / {
      proxy_pass https://server; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host api.example.test; proxy_set_header Authorization "Bearer """ + VALUE + """";
      proxy_ssl_verify on; proxy_ssl_trusted_certificate """ + str(world.ca.ca) + """;
      proxy_ssl_name api.example.test; proxy_ssl_server_name on; proxy_buffering off; proxy_request_buffering off; }""")
    (folder / "nginx.conf").write_text(text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    proxy.process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    proxy._wait()
    world._closing.append(proxy)
    return [pid for pid, _ in descendants(proxy.process.pid)]


def measure(rounds):
    rounds = rounds or 5
    if not shutil.which("wrk"):
        raise SystemExit("bench: wrk is not installed (scripts/install bench)")
    # What is up- and downloaded lies in memory: no disk in the figures.
    if shutil.disk_usage("/dev/shm").free > 4 * BULK:
        tempfile.tempdir = "/dev/shm"
    world = World()
    sandbox = None
    try:
        with open(world.nginx.root / "bulk", "wb") as file:
            file.truncate(BULK)
        proxies = proxy_nginx(world)
        sandbox = Sandbox(world)
        results = {}
        for load in LOADS:
            contenders = {"sallyport": lambda: sandbox.run(load),
                          "nginx as proxy": lambda: outside(world, load, "11.0.0.91", proxies),
                          "direct": lambda: outside(world, load, "11.0.0.80", [])}
            for run in contenders.values():
                run()  # Warm.
            results[load] = interleave(contenders, rounds)
    finally:
        if sandbox:
            sandbox.close()
        world.close()
    rows = []
    for load, by_name in results.items():
        bulk = load.endswith("MiB")
        unit = "MB/s" if bulk else "/s"
        direct = median(by_name["direct"], "rate")
        for name, samples in by_name.items():
            cpu = median(samples, "cpu")
            shown = "-" if name == "direct" else f"{cpu:.2f} s/GB" if bulk else f"{cpu * 1e6:.1f} us"
            rows.append([f"{load}: {name}", f"{median(samples, 'rate'):.0f} {unit}",
                         f"{median(samples, 'rate') / direct:.2f}", shown])
    print(f"HTTPS with a secret swapped, {rounds} rounds, interleaved, {os.cpu_count()} CPUs for client, gate and server")
    table(["", "rate", "x direct", "CPU of the middle, each"], rows)
    return {"rounds": rounds, "samples": results}
