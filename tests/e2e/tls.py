#!/usr/bin/env python3
"""TLS that is passed through unread, and what servers of one host must prove, in real sandboxes."""

from harness import World, main, skip, test

PASSED = """
allow.http { host = { "selfsigned.example.test", "api.example.test" }, tls = "passthrough" }
"""
SEEN = 'allow.http { host = { "api.example.test", "whoami.example.test" } }\n'
WRONG_PIN = "sha256/" + "A" * 43 + "="
CURL = "curl -sS -m 20 "


@test("a flow that is passed through shows the client the server's own certificate")
def _(world):
    got = world.run(CURL + "-kv https://selfsigned.example.test/small 2>&1", policy=PASSED).expect(0)
    assert "self-signed" in got.text or "self signed" in got.text, got
    record = got.told(name="selfsigned.example.test", transport="https")
    assert record["transport"] == "https" and record["verdict"] == "allow", record
    assert record["bytes_up"] > 0 and record["bytes_down"] > 0 and "path" not in record, record


@test("a flow is not passed through for another name than its own")
def _(world):
    got = world.run(CURL + "-k --connect-to evil.example.test:443:api.example.test:443 "
                    "https://evil.example.test/", policy=PASSED)
    assert got.code == 35, got  # CURLE_SSL_CONNECT_ERROR
    record = got.told(reason="host_mismatch")
    assert "evil.example.test" in record["detail"], record


@test("a server without a pinned key answers a readable 502, and other hosts are as before")
def _(world):
    policy = SEEN + f'upstream "api.example.test" {{ pin = "{WRONG_PIN}" }}\n'
    got = world.run(CURL + "https://api.example.test/small", policy=policy).expect(0)
    assert "upstream_tls" in got.text and "pins" in got.text, got
    world.run(CURL + "-f https://whoami.example.test/", policy=policy).expect(0)


@test("a program that does not trust the gate is named in the log, with the fix, and counted")
def _(world):
    root = "/etc/ssl/certs/ISRG_Root_X1.pem"
    for version in ("", "--tls-max 1.2 "):
        got = world.run(f"""test -e {root} || exit 77
for i in $(seq 35); do {CURL} {version}--cacert {root} --capath /nonexistent https://api.example.test/ 2>&1; done | tail -n 1""",
                        policy=SEEN)
        if got.code == 77:
            skip("no root certificate of somebody else's")
        # A client that goes with its connection reset may take its alert along; few do.
        told = [r["detail"] for r in got.audit if "unknown ca" in r.get("detail", "")]
        assert len(told) >= 2 and all("docs/trust.md" in t for t in told), got
        assert "25 times since this was last told, 26 in all" in told[1], told


@test("the key of a client certificate is read on the host, and is nowhere in the sandbox")
def _(world):
    cert, key = world.ca.issue("gate-client", ["gate.example.test"])
    policy = SEEN + (f'upstream "api.example.test" {{ client_cert = '
                     f'{{ cert = "{cert}", key = file "{key}" }} }}\n')
    got = world.run(f"{CURL} -f https://api.example.test/small >&2; cat {key}; env", policy=policy)
    assert "PRIVATE KEY" not in got.text, got
    got.told(name="api.example.test", reason="allowed")
    other = policy.replace(str(key), str(cert))
    refused = world.run("true", policy=other)
    assert refused.code == 125 and "private key" in refused.err.decode(), refused


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
