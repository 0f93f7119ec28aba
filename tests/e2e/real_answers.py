#!/usr/bin/env python3
"""dns { answers = "real" }: the guest gets the addresses that names have, and each connection is held to one of the names."""

import json
import subprocess

from harness import World, main, netns, patience, test

# whoami, other and third have one address in this world; api, git and static another one.
POLICY = """
dns { answers = "real" }
allow.http { host = { "whoami.example.test", "other.example.test", "api.example.test",
                      "mixed.example.test", "inside.example.test" } }
allow.tcp  { host = "third.example.test", port = 8443 }
secret "KEY" { from = env "KEY", hosts = { "whoami.example.test" }, headers = { "x-key" } }
"""
VALUE = "value-0123456789abcdef"

# Resolves its first arguments, up to "--", then connects to ADDRESS:PORT with a server name and a Host,
# and prints the status line, or why there is none.
TALK = """
import socket, ssl, sys
split = sys.argv.index("--")
for name in sys.argv[1:split]: socket.getaddrinfo(name, 443)
address, port, server_name, host = sys.argv[split + 1:]
try:
    s = socket.create_connection((address, int(port)), timeout=20)
    if port == "443":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        s = context.wrap_socket(s, server_hostname=server_name or None)
    s.sendall(f"GET /talk HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(s.recv(65536).split(b"\\r\\n")[0].decode() or "closed")
except OSError as why:
    print("refused", why)
"""


def talk(world, names, address, port, server_name, host):
    got = world.python(TALK, *names, "--", address, port, server_name, host, policy=POLICY,
                       env={"KEY": VALUE}).expect(0)
    return got.text.strip(), got


def dig(world, script, policy=POLICY):
    return world.run(script, policy=policy, env={"KEY": VALUE}).expect(0).text.split()


@test("dig shows the addresses that a name has, without those that are refused")
def _(world):
    world.dns.zone["mixed.example.test"] = ["10.0.0.80", "11.0.0.81", "127.0.0.1", "169.254.169.254",
                                            "198.18.0.9", netns.HOST_V4, "11.0.0.80"]
    assert dig(world, "dig +short whoami.example.test") == ["11.0.0.81"]
    assert dig(world, "dig +short api.example.test api.example.test AAAA") == ["11.0.0.80"]
    assert sorted(dig(world, "dig +short mixed.example.test")) == ["11.0.0.80", "11.0.0.81"]
    both = POLICY.replace('"real"', '"real", families = "both"')
    world.dns.zone["mixed.example.test"] = ["11.0.0.81", "2600:11::81", "fd00::1", "::1", netns.HOST_V6]
    assert dig(world, "dig +short mixed.example.test AAAA", both) == ["2600:11::81"]


@test("a name whose addresses are all refused still answers why")
def _(world):
    world.dns.zone["inside.example.test"] = ["10.0.0.80"]
    world.forbidden.forget()
    got = world.run("curl -sS http://inside.example.test/", policy=POLICY, env={"KEY": VALUE}).expect(0)
    assert json.loads(got.text)["type"].endswith("address_refused"), got
    assert world.forbidden.connections == 0


@test("two names of one address are told apart by what their clients say")
def _(world):
    for scheme in ("https", "http"):
        world.origin.forget()
        got = world.run(f"curl -sS {scheme}://whoami.example.test/one {scheme}://other.example.test/two",
                        policy=POLICY, env={"KEY": VALUE}).expect(0)
        assert got.text == "hello /one\nhello /two\n", got
        assert [r.get("host") for r in world.origin.requests] == ["whoami.example.test",
                                                                  "other.example.test"]
        for name in ("whoami", "other"):
            assert got.told(name=f"{name}.example.test", transport=scheme)["verdict"] == "allow"


@test("a secret goes to its own host only, also where another one has the same address")
def _(world):
    world.origin.forget()
    got = world.run('for host in other whoami; do curl -sS -o /dev/null -w "%{http_code} " '
                    '-H "x-key: $KEY" https://$host.example.test/x; done',
                    policy=POLICY, env={"KEY": VALUE}).expect(0)
    sent = {r.get("host"): r.get("x-key") for r in world.origin.requests}
    assert sent.get("whoami.example.test") == VALUE, got
    assert sent.get("other.example.test") != VALUE, got
    # A server name of the one and a Host of the other get neither through.
    for port, server_name in (("443", "other.example.test"), ("80", "")):
        names = ["whoami.example.test", "other.example.test"]
        world.origin.forget()
        status, got = talk(world, names, "11.0.0.81", port, server_name, "other.example.test")
        assert status.startswith("HTTP/1.1 200"), got
        status, got = talk(world, names, "11.0.0.81", "443", "other.example.test",
                           "whoami.example.test")
        assert status.startswith(("HTTP/1.1 421", "refused")), got
        assert [r.get("host") for r in world.origin.requests] == ["other.example.test"], got


@test("a name that was not granted is not reached at an address that another one has")
def _(world):
    for names in (["whoami.example.test"], ["whoami.example.test", "other.example.test"]):
        for port in ("443", "80"):
            world.origin.forget()
            status, got = talk(world, names, "11.0.0.81", port, "second.example.test",
                               "second.example.test")
            assert not status.startswith("HTTP/1.1 2"), got
            assert world.origin.requests == [], got
            assert any(r["verdict"] == "deny" and r["transport"] in ("http", "https")
                       for r in got.audit), got


@test("an address that nobody was told is refused, and so are raw bytes where several names are meant")
def _(world):
    status, got = talk(world, ["whoami.example.test"], "11.0.0.80", "443", "api.example.test",
                       "api.example.test")
    assert status.startswith("refused"), got
    assert got.told(transport="tcp", address="11.0.0.80")["reason"] == "not_granted"
    status, got = talk(world, ["third.example.test"], "11.0.0.81", "8443", "", "third.example.test")
    assert got.told(transport="tcp", name="third.example.test")["verdict"] == "allow", got
    status, got = talk(world, ["third.example.test", "whoami.example.test"], "11.0.0.81", "8443", "",
                       "third.example.test")
    assert status.startswith("refused") and got.seconds < patience(10), got
    told = got.told(transport="tcp", address="11.0.0.81", reason="unknown_address")
    assert "third.example.test" in told["detail"] and "synthetic" in told["how_to_allow"], told


@test("a name without a rule causes no query and gets no real address")
def _(world):
    world.dns.forget()
    assert dig(world, "dig +short second.example.test")[0].startswith("198.1")
    assert world.dns.queries() == []


@test("a callback sees the aliases that a name leads to")
def _(world):
    policy = """
on.connect(function(conn)
  local query = conn:match_dns "*.cloak.test"
  if query then
    for _, alias in ipairs(query.chain) do
      if not alias:find("%.example%.test$") then return conn:deny "cloaked" end
    end
    query:accept()
  end
  local http = conn:match_http "*.cloak.test"
  if http and conn.transport == "tcp" then http:accept() end
end)
"""
    world.dns.zone["good.cloak.test"] = [("CNAME", "whoami.example.test")]
    world.dns.zone["bad.cloak.test"] = [("CNAME", "bad.tracker.test")]
    world.dns.zone["bad.tracker.test"] = ["11.0.0.81"]
    got = world.run("dig +short good.cloak.test; dig bad.cloak.test | grep status; "
                    "curl -sS -x http://10.0.2.2:3128 http://bad.cloak.test/", policy=policy).expect(0)
    lines = got.text.splitlines()
    assert lines[0].startswith("198.1") and "REFUSED" in lines[1], got
    refusal = "".join(lines[2:])
    assert "tracker.test" in refusal and "denied_by_hook" in refusal, got


@test("a host whose resolver answers with made-up addresses is told of it")
def _(world):
    folder = world.folder_for(0)
    file, policy = folder / "resolv.conf", folder / "policy.lua"
    policy.write_text('allow.http { host = "api.example.test" }\n')
    for server, warned in (("198.18.0.2", True), ("127.0.0.53", False)):
        file.write_text(f"search example.test\nnameserver {server}\n")
        subprocess.run(["mount", "--bind", file, "/etc/resolv.conf"], check=True)
        try:
            check = world.sandboxctl("policy", "check", str(policy)).expect(0)
            doctor = world.sandboxctl("doctor").expect(0)
        finally:
            subprocess.run(["umount", "/etc/resolv.conf"], check=True)
        for got in (check, doctor):
            assert (f"resolver {server} has a reserved address" in got.text) == warned, got
    policy.write_text('dns { resolvers = { "198.18.0.2" } }\n')
    got = world.sandboxctl("policy", "check", str(policy)).expect(0)
    assert ":1: warning: dns: the resolver 198.18.0.2" in got.text, got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
