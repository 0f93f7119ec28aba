#!/usr/bin/env python3
"""What no rule grants gets an answer at once, never leaves the host, and stands in the audit log."""

import json
import pathlib

from harness import SLOW, World, main, patience, test
from harness import dnswire

POLICY = """
allow.http { host = { "api.example.test", "whoami.example.test", "*.special.example.test",
                      "selfsigned.example.test", "expired.example.test", "wrongname.example.test",
                      "nobody.example.test", "silent.example.test", "missing.example.test",
                      "rebind.example.test", "cloak.example.test" } }
allow.http { host = "other.example.test", method = "GET", path = "/open/**", otherwise = "only reads" }
"""
# Less than any client or the gate waits for something; a busy machine may take a second by itself.
AT_ONCE = patience(5.0)

CURL = "curl -sS -m 20 -w '\\n%{http_code} %{time_total}\\n' "

# Programs that run inside. Each prints one line of JSON.
CONNECT = """
import json, socket, sys, time, errno
results = []
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    began = time.monotonic()
    try:
        socket.create_connection((host, int(port)), timeout=15).close()
        outcome = "connected"
    except OSError as why:
        outcome = errno.errorcode.get(why.errno, str(why))
    results.append([target, outcome, time.monotonic() - began])
print(json.dumps(results))
"""

DATAGRAM = """
import json, socket, sys, time, errno
results = []
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    began = time.monotonic()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(15)
        try:
            s.connect((host, int(port)))
            s.send(b"\\xc3\\x00\\x00\\x00\\x01" + bytes(1195))
            s.recv(1000)
            outcome = "answered"
        except OSError as why:
            outcome = errno.errorcode.get(why.errno, str(why))
    results.append([target, outcome, time.monotonic() - began])
print(json.dumps(results))
"""

ASK = (pathlib.Path(dnswire.__file__).read_text() + """
import json, sys
results = []
for question in sys.argv[2:]:
    name, kind = question.split("/")
    results.append([name, kind, *ask(sys.argv[1], name, kind)])
print(json.dumps(results))
""")


def parts(result):
    """(problem, seconds) that curl printed."""
    body, _, last = result.expect(0).text.rstrip().rpartition("\n")
    status, seconds = last.split()
    told = json.loads(body)
    assert told["status"] == int(status), result
    return told, float(seconds)


def refused(world, url, reason, status=403, options="", **fields):
    """URL is refused readably, at once, and with a line in the audit log."""
    result = world.run(CURL + options + " " + url, policy=POLICY)
    told, seconds = parts(result)
    assert told["status"] == status and reason in told["type"], result
    assert told["title"] and told["detail"], result
    assert seconds < AT_ONCE, f"{seconds} s\n{result}"
    record = result.told(reason=reason, **fields)
    assert record["verdict"] == "deny", result
    return told, result


@test("a name without a rule answers a readable 403 that says what would allow it")
def _(world):
    for scheme in ("https", "http"):
        told, _ = refused(world, f"{scheme}://evil.example.test/upload", "name_not_granted",
                          name="evil.example.test")
        assert "evil.example.test" in told["detail"] + told["how_to_allow"], told
        assert "allow.http" in told["how_to_allow"], told


@test("a name above and one below a granted name are refused like any other")
def _(world):
    for name in ("example.test", "below.api.example.test", "xapi.example.test"):
        refused(world, f"https://{name}/", "name_not_granted", name=name)


@test("a refusal is application/problem+json")
def _(world):
    got = world.run("curl -sS -o /dev/null -w '%{content_type}' https://evil.example.test/",
                    policy=POLICY).expect(0)
    assert got.text.startswith("application/problem+json"), got


@test("a name without a rule causes no query, whatever its type")
def _(world):
    kinds = ["A", "AAAA", "TXT", "MX", "NS", "SOA", "CNAME", "SRV", "NULL", "HTTPS", "SVCB", "CAA",
             "PTR", "ANY"]
    names = ["evil.example.test", "secret-data.tunnel.evil.example.test", "evil.example.com"]
    world.dns.forget()
    for server in ("10.0.2.2", "fd00:5a11::2"):
        got = world.python(ASK, server, *[f"{n}/{k}" for n in names for k in kinds], policy=POLICY)
        for name, kind, rcode, answers in json.loads(got.expect(0).out):
            # The name has an address, so that its user can be told why; everything else is not there.
            if kind == "A":
                assert [a.startswith(("198.18.", "198.19.")) for _, a in answers] == [True], answers
            elif kind in ("AAAA", "HTTPS"):
                assert (rcode, answers) == ("NOERROR", []), (name, kind, rcode, answers)
            else:
                assert (rcode, answers) == ("NXDOMAIN", []), (name, kind, rcode, answers)
    world.run("curl -sS https://evil.example.test/; getent hosts evil.example.test; true",
              policy=POLICY)
    assert world.dns.queries() == [], world.dns.queries()


@test("a granted name is asked for its addresses only")
def _(world):
    world.dns.forget()
    kinds = ["A", "AAAA", "TXT", "MX", "NS", "SRV", "HTTPS", "SVCB", "ANY"]
    got = world.python(ASK, "10.0.2.2", *[f"api.example.test/{k}" for k in kinds], policy=POLICY)
    for _, kind, rcode, answers in json.loads(got.expect(0).out):
        assert rcode in ("NOERROR", "NOTIMP", "REFUSED", "NXDOMAIN"), (kind, rcode)
        assert kind in ("A", "ANY") or answers == [], (kind, answers)
        assert all(a.startswith("198.1") for _, a in answers), answers
    assert {kind for _, kind in world.dns.queries()} <= {"A", "AAAA"}, world.dns.queries()


@test("the resolver answers over TCP as over UDP")
def _(world):
    program = ASK.replace("*ask(sys", "*ask_tcp(sys")
    got = world.python(program, "10.0.2.2", "api.example.test/A", "evil.example.test/TXT",
                       policy=POLICY).expect(0)
    granted, evil = json.loads(got.out)
    assert granted[2] == "NOERROR" and granted[3][0][1].startswith("198.1"), got
    assert evil[2:] == ["NXDOMAIN", []], got


@test("dns { unlisted = \"nxdomain\" } says plainly that there is no such name")
def _(world):
    policy = 'dns { unlisted = "nxdomain" }\n' + POLICY
    got = world.run("curl -sS -m 20 https://evil.example.test/", policy=policy)
    assert got.code == 6, got
    assert got.seconds < patience(3), got
    got = world.python(ASK, "10.0.2.2", "evil.example.test/A", policy=policy).expect(0)
    assert json.loads(got.out)[0][2:] == ["NXDOMAIN", []], got


@test("another resolver can't be asked")
def _(world):
    got = world.run(["python3", "-c", DATAGRAM, "11.0.0.53:53", "8.8.8.8:53"], policy=POLICY)
    for target, outcome, seconds in json.loads(got.expect(0).out):
        assert outcome != "answered" and seconds < AT_ONCE, (target, outcome, seconds)
    got = world.run(["python3", "-c", CONNECT, "11.0.0.53:53", "11.0.0.53:853"], policy=POLICY)
    for target, outcome, seconds in json.loads(got.expect(0).out):
        assert outcome == "ECONNREFUSED" and seconds < AT_ONCE, (target, outcome, seconds)


@test("an address without a name is refused at its first packet")
def _(world):
    targets = ["11.0.0.80:443", "11.0.0.80:80", "11.0.0.81:8443", "1.1.1.1:443",
               "2600:11::80:443", "2606:4700::1111:443"]
    got = world.run(["python3", "-c", CONNECT, *targets], policy=POLICY).expect(0)
    for target, outcome, seconds in json.loads(got.out):
        assert outcome == "ECONNREFUSED" and seconds < AT_ONCE, (target, outcome, seconds)
    for target in targets:
        host, _, port = target.rpartition(":")
        record = got.told(address=host, port=int(port))
        assert record["verdict"] == "deny" and record["reason"] == "not_granted", record


# Special addresses, plain and embedded in others, as a literal would be written.
SPECIAL = """
0.0.0.1 10.0.0.80 10.0.2.2 10.0.2.3 100.64.0.1 100.100.100.200 168.63.129.16 169.254.169.254
169.254.170.2 169.254.170.23 169.254.1.1 172.16.0.1 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
192.168.1.1 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1 240.0.0.1
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:50 64:ff9b:1::a9fe:a9fe
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:a00:50::
100::1 2001:2::1 3fff::1 fc00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe
fd00:42::42 fd00:a9fe:a9fe::1 fd00:100::100:200 fec0::1 fd00:5a11::3
2600::5efe:a9fe:a9fe 2600::200:5efe:7f00:1
""".split()


@test("literal special addresses are refused, however they are embedded")
def _(world):
    world.forbidden.forget()
    targets = [f"{address}:{port}" for address in SPECIAL for port in (80, 8000)]
    got = world.run(["python3", "-c", CONNECT, *targets], policy=POLICY, timeout=120).expect(0)
    bad = [result for result in json.loads(got.out)
           if result[1] in ("connected", "ETIMEDOUT", "timed out") or result[2] > AT_ONCE]
    assert bad == [], bad
    assert world.forbidden.connections == 0


@test("spellings of loopback and metadata that resolvers accept lead nowhere")
def _(world):
    world.forbidden.forget()
    hosts = ["127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "[::1]", "0", "0.0.0.0",
             "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "localhost",
             "2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:169.254.169.254]",
             "[::ffff:10.0.0.80]", "0xa.0.0.80", "012.0.0.80"]
    script = "".join(f"curl -sS -g -m 5 -o /dev/null http://{host}:{port}/ 2>/dev/null; echo $?\n"
                     for host in hosts for port in (80, 8000))
    got = world.run(script, policy=POLICY, timeout=120).expect(0)
    codes = got.text.split()
    assert len(codes) == 2 * len(hosts)
    for code, host in zip(codes, (h for h in hosts for _ in (80, 8000))):
        assert code not in ("0", "28"), f"{host}: curl's exit code {code}\n{got}"
    assert world.forbidden.connections == 0


@test("names that resolve to special addresses are refused readably")
def _(world):
    world.forbidden.forget()
    addresses = SPECIAL + ["127.0.0.1", "127.8.8.8", "0.0.0.0", "255.255.255.255", "224.0.0.1",
                           "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.80", "::127.0.0.1",
                           "::ffff:0:127.0.0.1", "::ffff:169.254.169.254", "fe80::1", "ff02::1",
                           "fe80::5efe:a9fe:a9fe"]
    for i, address in enumerate(addresses):
        world.dns.zone[f"n{i}.special.example.test"] = [address]
    # One connection after the other, many names in one sandbox.
    script = "".join(CURL + f"http://n{i}.special.example.test/ | tr -d '\\n'; echo\n"
                     for i in range(len(addresses)))
    got = world.run(script, policy=POLICY, timeout=180).expect(0)
    lines = got.text.splitlines()
    assert len(lines) == len(addresses), got
    for i, (line, address) in enumerate(zip(lines, addresses)):
        assert "address_refused" in line, f"{address}: {line}"
        assert float(line.split()[-1]) < AT_ONCE, f"{address}: {line}"
        got.told(name=f"n{i}.special.example.test", reason="address_refused")
    assert world.forbidden.connections == 0


@test("a name with a public and a private address is only reached at the public one")
def _(world):
    world.forbidden.forget()
    world.dns.zone["whoami.example.test"] = ["10.0.0.80", "127.0.0.1", "11.0.0.81",
                                             "169.254.169.254"]
    try:
        for _ in range(3):
            got = world.run("curl -sS http://whoami.example.test/x", policy=POLICY).expect(0)
            assert got.text == "hello /x\n", got
    finally:
        world.dns.zone["whoami.example.test"] = ["11.0.0.81"]
    assert world.forbidden.connections == 0


@test("a name that changes its address to a private one is refused then")
def _(world):
    world.forbidden.forget()
    world.dns.ttl = 0
    world.dns.zone["rebind.example.test"] = (
        lambda name, kind, asked: ["11.0.0.81"] if asked == 0 else ["10.0.0.80"])
    try:
        got = world.run("for i in 1 2 3 4; do curl -sS -m 10 http://rebind.example.test/ | tr -d '\\n'; echo; done",
                        policy=POLICY).expect(0)
    finally:
        world.dns.ttl = 60
        world.dns.zone["rebind.example.test"] = ["11.0.0.81"]
    assert world.forbidden.connections == 0, got
    for line in filter(None, got.text.splitlines()):
        assert line.startswith("hello") or "address_refused" in line, got


@test("an alias to a private address is refused")
def _(world):
    world.dns.zone["cloak.example.test"] = [("CNAME", "inside.internal.test")]
    world.dns.zone["inside.internal.test"] = ["10.0.0.80"]
    world.forbidden.forget()
    refused(world, "http://cloak.example.test/", "address_refused")
    assert world.forbidden.connections == 0


@test("another port of a granted name is refused")
def _(world):
    got = world.run(["python3", "-c", CONNECT, "whoami.example.test:8443", "whoami.example.test:22"],
                    policy=POLICY).expect(0)
    for target, outcome, seconds in json.loads(got.out):
        assert outcome == "ECONNREFUSED" and seconds < AT_ONCE, (target, outcome, seconds)
    assert got.told(name="whoami.example.test", port=8443)["reason"] == "not_granted"


@test("UDP and QUIC are prohibited at once")
def _(world):
    targets = ["whoami.example.test:443", "api.example.test:53", "11.0.0.81:443", "1.1.1.1:123",
               "2600:11::81:443"]
    got = world.run(["python3", "-c", DATAGRAM, *targets], policy=POLICY).expect(0)
    for target, outcome, seconds in json.loads(got.out):
        # ICMP 3/13 is EHOSTUNREACH, ICMPv6 1/1 is EACCES.
        assert outcome in ("EHOSTUNREACH", "EACCES"), (target, outcome)
        assert seconds < AT_ONCE, (target, outcome, seconds)
    assert got.told(transport="udp", port=123)["reason"] == "not_granted"


@test("a request for another host on a granted connection is misdirected")
def _(world):
    world.origin.forget()
    told, _ = refused(world, "https://whoami.example.test/x", "host_mismatch", status=421,
                      options="--http1.1 -H 'Host: other.example.test'")
    assert world.origin.requests == [], told
    told, _ = refused(world, "http://whoami.example.test/x", "host_mismatch", status=421,
                      options="-H 'Host: api.example.test'")
    assert world.origin.requests == [], told


@test("a TLS name other than the connection's is misdirected")
def _(world):
    world.origin.forget()
    got = world.python("""
import http.client, socket, ssl, json
raw = socket.create_connection(("whoami.example.test", 443), timeout=15)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    tls = context.wrap_socket(raw, server_hostname="api.example.test")
    tls.sendall(b"GET /x HTTP/1.1\\r\\nHost: api.example.test\\r\\n\\r\\n")
    print(tls.recv(65536).split(b"\\r\\n")[0].decode())
except (ssl.SSLError, OSError) as why:
    print("refused", why)
""", policy=POLICY).expect(0)
    assert "421" in got.text or got.text.startswith("refused"), got
    assert got.told(reason="host_mismatch")["verdict"] == "deny"
    assert world.origin.requests == []


@test("a second request of a connection is decided like the first")
def _(world):
    world.origin.forget()
    got = world.python("""
import http.client
c = http.client.HTTPSConnection("whoami.example.test", timeout=15)
c.request("GET", "/first"); r = c.getresponse(); print(r.status); r.read()
c.request("GET", "/second", headers={"Host": "other.example.test"}); r = c.getresponse(); print(r.status)
""", policy=POLICY).expect(0)
    assert got.text.split() == ["200", "421"], got
    assert [r.path for r in world.origin.requests] == ["/first"]


@test("a server whose certificate does not verify answers a readable 502")
def _(world):
    for name, word in (("selfsigned", ""), ("expired", "expired"), ("wrongname", "name")):
        told, _ = refused(world, f"https://{name}.example.test/small", "upstream_tls", status=502,
                          name=f"{name}.example.test")
        assert word in told["detail"].lower() or not word, told


@test("no byte of a request reaches a server that did not verify")
def _(world):
    got = world.run('curl -sS -H "X-Api-Key: $KEY" https://selfsigned.example.test/small',
                    policy=POLICY + """
secret "KEY" { from = env "KEY", hosts = { "selfsigned.example.test" } }
""", env={"KEY": "value-0123456789"}).expect(0)
    assert "upstream_tls" in got.text, got
    log = (world.nginx.folder / "error.log").read_text()
    assert "value-0123456789" not in log


@test("a server that refuses connections answers a readable 502")
def _(world):
    refused(world, "https://nobody.example.test/", "upstream_refused", status=502)
    refused(world, "http://nobody.example.test/", "upstream_refused", status=502)


@test("a granted name that does not exist is not found")
def _(world):
    world.dns.zone.pop("missing.example.test", None)
    got = world.run("curl -sS -m 20 https://missing.example.test/", policy=POLICY)
    # Either the resolver says so, or the page does.
    assert got.code == 6 or "name_not_found" in got.text, got
    assert got.told(name="missing.example.test")["reason"] == "name_not_found"


@test("a resolver that is silent is reported, not waited for")
def _(world):
    from harness.dns_server import DROP
    world.dns.zone["silent.example.test"] = lambda name, kind, asked: DROP
    got = world.run("curl -sS -m 60 https://silent.example.test/", policy=POLICY, timeout=90)
    assert got.code != 28, got
    assert got.told(name="silent.example.test", reason="resolver_failed")
    assert got.seconds < patience(30), got


@test("what a rule does not cover is refused with the rule's own words")
def _(world):
    world.origin.forget()
    told, _ = refused(world, "https://other.example.test/open/x", "denied_by_rule",
                      options="-X DELETE")
    assert "only reads" in told["detail"], told
    told, _ = refused(world, "https://other.example.test/closed", "denied_by_rule")
    assert "only reads" in told["detail"], told
    # Spellings of a path that are read in two ways.
    for path in ("/open/../closed", "/open/%2e%2e/closed", "/open/..%2fclosed", "/open/%2E./closed"):
        got = world.run(CURL + f"--path-as-is 'https://other.example.test{path}'", policy=POLICY)
        told, _ = parts(got)
        assert told["status"] in (400, 403), got
    assert world.origin.requests == []


@test("bytes that are not HTTP end the connection")
def _(world):
    world.origin.forget()
    got = world.python("""
import socket, sys
for port in (80, 443):
    s = socket.create_connection(("whoami.example.test", port), timeout=15)
    s.sendall(b"SSH-2.0-OpenSSH_9.2\\r\\n" + bytes(64))
    try:
        answer = s.recv(1000)
    except ConnectionResetError:
        answer = b""
    print(port, answer[:12])
""", policy=POLICY).expect(0)
    for line in got.text.splitlines():
        assert line.endswith("b''") or "HTTP/1.1 400" in line or "x15" in line, got
    assert world.origin.requests == []
    assert any(r["reason"] in ("not_http", "bad_request") for r in got.audit), got


@test("without a policy nothing is granted")
def _(world):
    world.dns.forget()
    told, _ = parts(world.run(CURL + "https://api.example.test/small"))
    assert told["status"] == 403 and "name_not_granted" in told["type"]
    assert world.dns.queries() == []


@test("an audit log that can't be written denies everything")
def _(world):
    world.origin.forget()
    got = world.run(CURL + "https://whoami.example.test/a; " + CURL + "https://whoami.example.test/b",
                    policy=POLICY, audit="/dev/full")
    assert world.origin.requests == [], got
    assert got.code != 0 and got.seconds < patience(5), got
    assert got.errors.count("sandboxctl: the audit log can't be written, so nothing is allowed any more: ") == 1, got


@test("equal denials become one line with their number")
def _(world):
    got = world.run(["python3", "-c", CONNECT, *["1.1.1.1:443"] * 50], policy=POLICY).expect(0)
    records = [r for r in got.audit if r.get("address") == "1.1.1.1"]
    assert sum(r.get("repeat", 1) for r in records) == 50, got
    assert len(records) <= (10 if SLOW else 3), got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
