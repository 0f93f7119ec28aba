#!/usr/bin/env python3
"""match_dns(…):accept { resolvers = … }: names that are asked of servers of their own, and of no others."""

import contextlib
import pathlib

from harness import PLAIN, ROOT, World, main, test
from harness.dns_server import DnsServer

INNER = "11.0.0.53:5353"
POLICY = """
allow.http { host = "whoami.example.test" }
on.connect(function(conn)
  local query = conn:match_dns "*.corp.test"
  if query then return query:accept { resolvers = { "%s" }, types = { "TXT" } } end
  local web = conn:match_http "*.corp.test"
  if web then return web:accept() end
end)
"""
GET = 'curl -sS -m 20 -o /dev/null -w "%{http_code} " '


@contextlib.contextmanager
def inner_server(world):
    """A server that knows names of which the usual one knows something else."""
    server = DnsServer("11.0.0.53", 5353)
    try:
        world.dns.zone["a.corp.test"] = ["11.0.0.85"]
        server.zone["a.corp.test"] = ["11.0.0.81", ("TXT", "inner")]
        world.dns.forget()
        yield server
    finally:
        server.close()
        del world.dns.zone["a.corp.test"]


@test("a name is looked up, reached and searched for records by its own servers alone")
def _(world):
    for user in (ROOT, PLAIN):
        with inner_server(world) as inner:
            got = world.run(f"{GET} http://a.corp.test/x; {GET} -x http://10.0.2.2:3128 http://a.corp.test/y;"
                            f"{GET} https://whoami.example.test/; dig +short a.corp.test TXT",
                            policy=POLICY % INNER, user=user).expect(0)
            assert got.text.split() == ["200", "200", "200", '"inner"'], got
            assert ("a.corp.test", "A") in inner.queries() and ("a.corp.test", "TXT") in inner.queries()
            assert inner.queries("example.test") == [], inner.queries()
            assert world.dns.queries("corp.test") == [], world.dns.queries()
            assert world.dns.queries("whoami.example.test") != []


@test("where its servers don't answer, the name has no other, and the guest is told")
def _(world):
    world.dns.forget()
    got = world.run("curl -sS -m 20 http://a.corp.test/; dig a.corp.test", policy=POLICY % "11.0.0.85")
    assert "Could not resolve" in got.errors and "SERVFAIL" in got.text, got
    assert got.told(transport="dns", name="a.corp.test")["reason"] == "resolver_failed", got
    assert world.dns.queries("corp.test") == [], world.dns.queries()


@test("a reload decides anew who is asked, also about a name that the guest knows already")
def _(world):
    with inner_server(world) as inner:
        running = world.start(["sh", "-c", f"while read line; do {GET} http://a.corp.test/; echo; done"],
                              POLICY % INNER)
        file = pathlib.Path(running.argv[running.argv.index("-f") + 1])

        def ask():
            running.process.stdin.write(b"\n")
            running.process.stdin.flush()
            return running.process.stdout.readline().decode().strip()

        assert ask() == "200"
        inner.zone["a.corp.test"] = ["11.0.0.85"]
        world.dns.zone["a.corp.test"] = ["11.0.0.81"]
        file.write_text((POLICY % INNER).replace(f'resolvers = {{ "{INNER}" }}, ', ""))
        box = world.sandboxctl("ls").expect(0).text.splitlines()[1].split()[0]
        world.sandboxctl("policy", "reload", box, str(file)).expect(0)
        assert ask() == "200"
        assert ("a.corp.test", "A") in world.dns.queries(), world.dns.queries()
        running.finish()


@test("policy explain tells who is asked")
def _(world):
    file = world.folder_for(ROOT) / "policy.lua"
    file.write_text(POLICY % INNER)
    got = world.sandboxctl("policy", "explain", str(file), "dns", "a.corp.test").expect(0)
    assert f"is resolved by {INNER}" in got.text, got


main(World)
