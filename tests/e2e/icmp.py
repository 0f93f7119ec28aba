#!/usr/bin/env python3
"""Pings of granted addresses reach them through the host's ping sockets; others are prohibited, at once and by name."""

import json
import pathlib
import subprocess
import sys

from harness import World, main, netns, patience, test
from harness.sandbox import PLAIN, ROOT

GROUPS = "/proc/sys/net/ipv4/ping_group_range"

POLICY = """
allow.icmp { host = "ping.example.test" }
allow.icmp { host = "local.example.test", to = "127.0.0.1" }
allow.icmp { host = "six.example.test", name = "six" }
allow.icmp { ip = { "11.0.0.80", "11.7.0.0/16", "2600:11::80" } }
allow.icmp { host = { "inside.example.test", "own.example.test" } }
allow.icmp { host = "few.example.test", rate = "2/h" }
deny.icmp  { ip = "11.0.0.81", reason = "not that one" }
allow.http { host = "whoami.example.test" }
"""

# Prints one line of JSON for each of its arguments, HOST or HOST/SIZE: the payload that came back, or
# [type, code, information] of the ICMP error.
PING = """
import json, socket, struct, sys, time
def ping(host, size, sequence):
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)[0]
    six = family == socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM, 58 if six else 1) as s:
        s.setsockopt(41 if six else 0, 25 if six else 11, 1)  # RECVERR
        if six: s.setsockopt(41, 23, 3)  # IPV6_MTU_DISCOVER: no fragments are made or cached for
        else: s.setsockopt(0, 10, 3)     # IP_MTU_DISCOVER, likewise: probe
        s.settimeout(20)
        s.connect(address)
        payload = bytes(i * 7 % 256 for i in range(size))
        s.send(struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0, sequence) + payload)
        try:
            got = s.recv(65536)
        except OSError as why:
            if isinstance(why, TimeoutError): return "timeout"
            data, control, _, _ = s.recvmsg(65536, 512, 0x2000)  # MSG_ERRQUEUE
            errno, origin, kind, code, _, info, _ = struct.unpack("=IBBBBII", control[0][2][:16])
            assert struct.unpack("!H", data[6:8])[0] == sequence, data
            return [kind, code, info]
        kind, code, _, _, back = struct.unpack("!BBHHH", got[:8])
        assert (kind, code, back) == (129 if six else 0, 0, sequence), got[:8]
        return "reply" if got[8:] == payload else got[8:].decode("latin1")
for i, target in enumerate(sys.argv[1:]):
    host, _, size = target.partition("/")
    began = time.monotonic()
    print(json.dumps([target, ping(host, int(size or 56), 100 + i), time.monotonic() - began]), flush=True)
"""
PROHIBITED, PROHIBITED6 = [3, 13, 0], [1, 1, 0]

# In the neighbouring network: answers the pings of 11.7.0.1 by itself, and each one twice before, as
# others would that guess.
FORGER = """
import socket, struct
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
print("ready", flush=True)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
while True:
    packet, (sender, _) = raw.recvfrom(65536)
    if packet[20] != 8 or packet[16:20] != bytes([11, 7, 0, 1]): continue
    for source, payload in (("11.7.0.2", b"forged!!"), ("11.7.0.1", packet[28:])):
        message = bytes([0, 0, 0, 0]) + packet[24:28] + payload
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        answer = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
        answer.bind((source, 0))
        answer.sendto(message, (sender, 0))
        answer.close()
"""


def permit(groups):
    """Sets whose processes may ping on the host."""
    subprocess.run([*netns.in_host(), "sh", "-c", f"echo {groups} > {GROUPS}"], check=True)


class Neighbourhood(World):
    """With a network behind it, whose router has addresses, errors and a narrow link to show."""

    def _build(self):
        super()._build()
        permit("0 2147483647")
        router = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; exec sleep 3600"],
                                  stdout=subprocess.PIPE)
        self._router = router
        router.stdout.readline()
        subprocess.run(["ip", "-batch", "-"], check=True, input=f"""
link add near type veth peer name far netns {router.pid}
addr add 11.0.1.1/30 dev near
link set near up
route add 11.7.0.0/16 via 11.0.1.2
""".encode())
        self._in_router("ip", "-batch", "-", input=b"""
link set lo up
addr add 11.0.1.2/30 dev far
link set far up
addr add 11.7.0.1/32 dev lo
addr add 11.7.0.2/32 dev lo
route add default via 11.0.1.1
route add unreachable 11.7.1.0/24
route add prohibit 11.7.2.0/24
link add narrow type veth peer name beyond
link set beyond up
link set narrow mtu 1000 up
route add 11.7.3.0/24 dev narrow
""")
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._in_router("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward;"
                                    "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all;"
                                    # An icmp_ratelimit of 0 can empty the bucket of `prohibit` routes.
                                    "echo 0 > /proc/sys/net/ipv4/icmp_ratemask;"
                                    "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter")
        self._forger = subprocess.Popen(
            ["nsenter", f"--net=/proc/{router.pid}/ns/net", sys.executable, "-c", FORGER],
            stdout=subprocess.PIPE)
        self._forger.stdout.readline()
        self.dns.zone["ping.example.test"] = ["11.0.0.80"]
        self.dns.zone["few.example.test"] = ["11.0.0.80"]
        self.dns.zone["six.example.test"] = ["2600:11::81"]
        self.dns.zone["inside.example.test"] = ["10.0.0.80", "127.0.0.1"]
        self.dns.zone["own.example.test"] = [netns.HOST_V4]

    def _in_router(self, *command, **run):
        subprocess.run(["nsenter", f"--net=/proc/{self._router.pid}/ns/net", *command], check=True,
                       **run)

    def close(self):
        for process in (self._forger, self._router):
            process.kill()
            process.wait()
            process.stdout.close()
        super().close()

    def ping(self, *targets, policy=POLICY, **run):
        """(outcomes by target, the run)"""
        got = self.python(PING, *targets, policy=policy, **run).expect(0)
        lines = [json.loads(line) for line in got.text.splitlines()]
        for target, outcome, seconds in lines:
            assert seconds < patience(5), f"{target}: {outcome} after {seconds} s\n{got}"
        return {target: outcome for target, outcome, _ in lines}, got


@test("a granted name and a granted address answer pings, as root and as a plain user")
def _(world):
    for user in (ROOT, PLAIN):
        outcomes, got = world.ping("ping.example.test", "11.0.0.80/1400", "local.example.test", user=user)
        assert set(outcomes.values()) == {"reply"}, got
        record = got.told(transport="icmp", name="ping.example.test")
        assert record["verdict"] == "allow" and record["rule"] == "policy.lua:2", record
        assert record["bytes_up"] == record["bytes_down"] == 56, record
        assert record["address"] == "11.0.0.80" and "port" not in record, record
        assert got.told(transport="icmp", name="local.example.test")["address"] == "127.0.0.1", got


@test("IPv6 answers, and a name that has nothing else answers a guest that pings over IPv4")
def _(world):
    outcomes, got = world.ping("2600:11::80", "six.example.test")
    assert set(outcomes.values()) == {"reply"}, got
    assert got.told(transport="icmp", rule="six")["address"] == "2600:11::81", got
    outcomes, got = world.ping("six.example.test", policy='dns { families = "both" }\n' + POLICY)
    assert outcomes == {"six.example.test": "reply"}, got


@test("what is not granted is prohibited at once, and stands in the audit log")
def _(world):
    outcomes, got = world.ping("11.0.0.82", "11.0.0.81", "whoami.example.test", "evil.example.test",
                               "2600:11::53", "169.254.169.254")
    for target, outcome in outcomes.items():
        assert outcome in (PROHIBITED, PROHIBITED6), f"{target}: {outcome}\n{got}"
    told = got.told(transport="icmp", address="11.0.0.82")
    assert told["reason"] == "not_granted", told
    assert told["how_to_allow"] == 'allow.icmp { ip = "11.0.0.82" }', told
    told = got.told(transport="icmp", address="11.0.0.81", reason="denied_by_rule")
    assert "not that one" in told["detail"], told
    assert got.told(transport="icmp", name="whoami.example.test")["reason"] == "not_granted"
    assert got.told(transport="icmp", name="evil.example.test")["reason"] == "name_not_granted"


@test("a name whose addresses are refused is not pinged")
def _(world):
    outcomes, got = world.ping("inside.example.test", "own.example.test")
    assert list(outcomes.values()) == [PROHIBITED, PROHIBITED], got
    assert got.told(transport="icmp", name="inside.example.test")["reason"] == "address_refused", got
    told = got.told(transport="icmp", name="own.example.test")
    assert told["reason"] == "address_refused" and "of this host itself" in told["detail"], told


@test("what the network answers is told: unreachable, prohibited, too big")
def _(world):
    outcomes, got = world.ping("11.7.1.1", "11.7.2.2", "11.7.3.3/1200")
    assert outcomes["11.7.1.1"] == [3, 1, 0], got
    assert outcomes["11.7.2.2"] == PROHIBITED, got
    assert outcomes["11.7.3.3/1200"] == [3, 4, 1000], got


@test("only the destination answers for itself")
def _(world):
    outcomes, got = world.ping("11.7.0.1/8", "11.7.0.1/8")
    assert set(outcomes.values()) == {"reply"}, got
    assert got.told(transport="icmp", address="11.7.0.1")["bytes_down"] == 8, got


@test("the budget of a rule counts runs of pings")
def _(world):
    outcomes, got = world.ping("few.example.test", "few.example.test/9", "few.example.test/10")
    assert list(outcomes.values()) == ["reply", "reply", PROHIBITED], got
    assert got.told(transport="icmp", reason="budget_rate")["name"] == "few.example.test"


@test("a host that gives the gate no ping sockets is said to, with what to change")
def _(world):
    permit("1 0")
    try:
        for user in (ROOT, PLAIN):
            outcomes, got = world.ping("11.0.0.80", "ping.example.test", user=user)
            assert set(map(tuple, outcomes.values())) == {tuple(PROHIBITED)}, got
            told = got.told(transport="icmp", reason="upstream_unreachable", name="ping.example.test")
            assert "net.ipv4.ping_group_range" in told["detail"], told
            doctor = world.sandboxctl("doctor", user=user).expect(0)
            row = next(line for line in doctor.text.splitlines() if " ping: " in line)
            assert row.startswith("degraded") and "net.ipv4.ping_group_range" in doctor.text, doctor
    finally:
        permit("0 2147483647")
    doctor = world.sandboxctl("doctor").expect(0)
    assert any(line.startswith("ok") and " ping: " in line for line in doctor.text.splitlines()), doctor


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(Neighbourhood)
