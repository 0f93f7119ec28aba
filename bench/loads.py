"""What a client does in each mode, and what can be read from its output. Every contender gets the
same command.

No client takes up a session: the gate offers none to its guests, and with one the peers would skip
the work compared.
"""

import json
import re

HOST = "api.example.test"
BULK = 256 << 20
SECONDS, WARM_SECONDS = 2, 1
TOKEN = '-H "Authorization: Bearer $TOKEN"'
WRK = f"wrk --latency -dSECONDSs -t1 {TOKEN}"
CURL = f"curl -sSk --fail --http1.1 -o /dev/null {TOKEN}"
CLOSE = '-H "Connection: close"'

# One connection after the other, each with a request, timed from connect() to the last byte. And:
# connections that have answered once, and then wait in silence.
CLIENT = """
import os, socket, ssl, sys, time
count, hold = int(sys.argv[1]), float(sys.argv[2])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
host = 'api.example.test'
address = socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
way = 'keep-alive' if hold else 'close'
token = os.environ['TOKEN']
request = (f'GET /kib HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: {way}\\r\\n'
           f'Authorization: Bearer {token}\\r\\n\\r\\n').encode()
times, kept = [], []
for _ in range(count):
    began = time.perf_counter()
    connection = context.wrap_socket(socket.create_connection(address[:2]), server_hostname=host)
    connection.sendall(request)
    answer = b''
    while b'\\r\\n\\r\\n' not in answer or not answer.endswith(b'k' * 1024):
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit(f'cut short: {answer[:200]}')
        answer += piece
    times.append(time.perf_counter() - began)
    assert answer.startswith(b'HTTP/1.1 200'), answer[:200]
    if hold: kept.append(connection)
    else: connection.close()
times.sort()
print('p50', times[len(times) // 2] * 1e6, 'rate', count / sum(times), flush=True)
time.sleep(hold)
lost = 0
for connection in kept:
    connection.setblocking(False)
    try:
        lost += connection.recv(1) == b''
    except ssl.SSLWantReadError:
        pass
if lost > count / 100:  # squid 5.7 closes up to a few of 1,000.
    raise SystemExit(f'{lost} of {count} connections were closed meanwhile')
"""
IDLE = 1000
HOLD = 3

# mode -> (what it is, the command). Idle memory comes first, before other loads have filled pools.
# URL is the server, SECONDS how long to ask, CLIENT the program above, $TOKEN the credential, $UP a
# file.
MODES = {
    "idle": (f"{IDLE} idle connections", f"python3 CLIENT {IDLE} {HOLD}"),
    "get1": ("GET 1 KiB, keep-alive, 1 in flight", f"{WRK} -c1 URL/kib"),
    "get32": ("GET 1 KiB, keep-alive, 32 in flight", f"{WRK} -c32 URL/kib"),
    "conn1": ("new connection and GET 1 KiB, 1 in flight", "python3 CLIENT 400 0"),
    "conn16": ("new connection and GET 1 KiB, 16 in flight", f"{WRK} -c16 {CLOSE} URL/kib"),
    "down": ("download 256 MiB", f"{CURL} -w '%{{speed_download}}\\n' URL/bulk"),
    "up": ("upload 256 MiB", f"{CURL} -w '%{{speed_upload}}\\n' -H Expect: -T $UP URL/put"),
    "h2": ("GET 1 KiB over HTTP/2, 100 streams", f"h2load -DSECONDS -c1 -m100 {TOKEN} URL/kib"),
}
BULKS = ("down", "up")


def command_of(mode, client, seconds):
    """The command line of MODE."""
    return (MODES[mode][1].replace("URL", f"https://{HOST}").replace("CLIENT", str(client))
            .replace("SECONDS", str(seconds)))


class Unavailable(Exception):
    """The contender does not do this; says why."""


def _wrk(output):
    bad = re.search(r"Non-2xx or 3xx responses: \d+"
                    r"|Socket errors: .*(?:connect [1-9]|write [1-9]|timeout [1-9]).*", output)
    if bad:
        raise RuntimeError(f"wrk: {bad.group(0)}")
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", output).groups()
    return {"units": int(re.search(r"(\d+) requests in", output).group(1)),
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1)),
            "p50": float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]}


def _h2load(output):
    protocol = re.search(r"Application protocol: (.*)|No protocol negotiated", output)
    if not protocol:
        raise RuntimeError(f"h2load: {output[:2000]}")
    if protocol.group(1) != "h2":
        raise Unavailable("does not speak HTTP/2 with its client")
    done, good, bad = (int(re.search(pattern, output).group(1)) for pattern in
                       (r"requests: .* (\d+) done", r"status codes: (\d+) 2xx", r"(\d+) 5xx"))
    if bad or good < done * 0.99:
        raise RuntimeError(f"h2load: {good} of {done} were answered well, {bad} with 5xx")
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
    return {"units": done, "rate": float(rate.group(1))}


def read_figures(mode, output):
    """units: requests, connections or GB; rate: of these a second; p50: µs, if told."""
    if mode in BULKS:
        return {"units": BULK / 1e9, "rate": float(output.split()[-1]) / 1e9}
    if mode in ("conn1", "idle"):
        found = re.search(r"p50 ([\d.]+) rate ([\d.]+)", output)
        if not found:
            raise RuntimeError(f"{mode}: {output}")
        return {"units": int(MODES[mode][1].split()[2]), "p50": float(found.group(1)),
                "rate": float(found.group(2))}
    return _h2load(output) if mode == "h2" else _wrk(output)


def write_bulk(path):
    """Text as APIs send it, so that a filter has something to look at."""
    line = json.dumps({"id": 4711, "name": "a record of a list", "state": "open",
                       "url": "https://api.example.test/4711", "labels": ["bug", "network"],
                       "body": "It says: connection refused."}) + "\n"
    block = (line * ((1 << 20) // len(line) + 1))[:1 << 20].encode()
    with open(path, "wb") as file:
        for _ in range(BULK >> 20):
            file.write(block)
