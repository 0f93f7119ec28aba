#!/usr/bin/env python3
"""allow.dns { types = … }: other records than addresses, asked for by a real client."""

from harness import World, main, test

POLICY = """
allow.http { host = "api.example.test" }
allow.dns  { host = { "mail.example.test", "_sip._tcp.example.test", "alias.example.test" },
             types = { "TXT", "MX", "SRV", "NS", "CNAME", "TYPE65280" } }
allow.dns  { host = "*.in-addr.arpa", types = "PTR" }
allow.dns  { host = "*.made-up.test", types = "TXT" }
"""
LONG = ["x" * 250 + str(i) for i in range(10)]


def fill(world):
    zone = world.dns.zone
    zone["mail.example.test"] = [("TXT", "v=spf1 -all"), ("TXT", "two", "parts"), ("MX", 10, "mx.example.test"),
                                 ("NS", "ns.example.test")]
    zone["_sip._tcp.example.test"] = [("SRV", 1, 2, 5060, "sip.example.test")]
    zone["alias.example.test"] = [("CNAME", "mail.example.test")]
    zone["4.3.2.11.in-addr.arpa"] = [("PTR", "host.example.test")]
    zone["1.0.0.10.in-addr.arpa"] = [("PTR", "intranet.example.test")]
    zone["*.made-up.test"] = [("TXT", "made up")]


def dig(world, *questions, options="+short"):
    """The lines that dig prints for each of QUESTIONS, and what the sandbox did."""
    command = "; echo ==; ".join(f"dig {options} {question}" for question in questions)
    got = world.run(command, policy=POLICY)
    return [sorted(part.strip().splitlines()) for part in got.text.split("==\n")], got


@test("the types that a rule grants are answered with what the resolvers say")
def _(world):
    fill(world)
    answers, got = dig(world, "mail.example.test TXT", "mail.example.test MX", "mail.example.test NS",
                       "_sip._tcp.example.test SRV", "alias.example.test CNAME", "alias.example.test MX",
                       "-x 11.2.3.4", "mail.example.test TYPE65280")
    assert answers == [['"two" "parts"', '"v=spf1 -all"'], ["10 mx.example.test."], ["ns.example.test."],
                       ["1 2 5060 sip.example.test."], ["mail.example.test."], ["10 mx.example.test."],
                       ["host.example.test."], []], (answers, got)
    line = got.told(transport="dns", name="mail.example.test", method="MX")
    assert line["verdict"] == "allow", line


@test("a name with such records and no address is not denied by the answer for its addresses")
def _(world):
    fill(world)
    (answer,), got = dig(world, "_sip._tcp.example.test A", options="")
    assert any("status: NOERROR" in line for line in answer), (answer, got)


@test("an answer too long for a datagram comes over TCP")
def _(world):
    fill(world)
    world.dns.zone["mail.example.test"] = [("TXT", text) for text in LONG]
    answers, got = dig(world, "mail.example.test TXT", "+ignore mail.example.test TXT", "+tcp mail.example.test TXT")
    whole = sorted(f'"{text}"' for text in LONG)
    assert answers == [whole, [], whole], (answers, got)


@test("other types, and those that lead past the gate, are asked of nobody; a line says which rule would")
def _(world):
    fill(world)
    world.dns.forget()
    answers, got = dig(world, "api.example.test TXT", "mail.example.test HTTPS", "mail.example.test SVCB",
                       "+notcp mail.example.test ANY", "mail.example.test CAA")
    assert answers == [[]] * 5, (answers, got)
    assert world.dns.queries() == [], world.dns.queries()
    line = got.told(transport="dns", name="api.example.test", method="TXT")
    assert line["reason"] == "not_granted", line
    assert line["how_to_allow"] == 'allow.dns { host = "api.example.test", types = { "TXT" } }', line
    assert got.told(transport="dns", name="mail.example.test", method="CAA")["verdict"] == "deny"


@test("reverse names of private addresses, and of more than one, are asked of nobody")
def _(world):
    fill(world)
    world.dns.forget()
    answers, got = dig(world, "-x 10.0.0.1", "-x 127.0.0.1", "-x 169.254.169.254", "10.in-addr.arpa PTR",
                       "lb._dns-sd._udp.0.0.10.in-addr.arpa PTR")
    assert answers == [[]] * 5, (answers, got)
    assert world.dns.queries() == [], world.dns.queries()
    assert got.told(transport="dns", name="1.0.0.10.in-addr.arpa")["reason"] == "address_refused", got


@test("names made up below a wildcard carry no data out by other types, either")
def _(world):
    fill(world)
    data = "mfzwizltomrggzdfmzsq2lbonvxw4ytvor2gk3tfojsxg5djn5xa"
    world.dns.forget()
    answers, got = dig(world, f"{data}.made-up.test TXT", "plain.made-up.test TXT")
    assert answers == [[], ['"made up"']], (answers, got)
    assert [name for name, _ in world.dns.queries()] == ["plain.made-up.test"], world.dns.queries()
    assert got.told(transport="dns", reason="dns_tunnel")["name"] == f"{data}.made-up.test", got


main(World)
