#!/usr/bin/env python3
"""Guests that get their tokens by themselves: their calls of a token endpoint are answered by the gate, with
placeholders. Real sandboxes, a token endpoint and an API of the tests' own, over TLS."""

import json
import subprocess
import time

from harness import PLAIN, World, main, test

RULES = """
allow.http { host = { "whoami.example.test", "other.example.test" } }
"""
SOURCES = {
    "client_credentials": """oauth2 { token_url = "https://other.example.test/token", client_id = "me",
                             client_secret = env "CLIENT_SECRET", scopes = { "read", "write" } }""",
    "refresh_token": """oauth2 { token_url = "https://other.example.test/token", client_id = "me",
                        client_secret = env "CLIENT_SECRET", refresh_token = env "REFRESH_TOKEN" }""",
}
# What the host has, and the guest must not.
PRIVATE = {"CLIENT_SECRET": "the-real-client-secret-42", "REFRESH_TOKEN": "the-real-refresh-token-42"}

# What an SDK does: asks for a token, uses it, asks again when it is refused. Prints all it was ever told.
CLIENT = """
import base64, json, os, sys, urllib.error, urllib.parse, urllib.request
grant, how, scope = sys.argv[1:4]

def call(url, fields, form=None):
    body = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, fields), timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()

form, fields = {"grant_type": grant}, {"Accept": "application/json"}
if grant == "refresh_token":
    form["refresh_token"] = os.environ["API_TOKEN"]
if scope:
    form["scope"] = scope
if how == "basic":
    fields["Authorization"] = "Basic " + base64.b64encode(b"me:guests-own-dummy").decode()
else:
    form |= {"client_id": "me", "client_secret": os.environ["API_TOKEN"]}
status, headers, text = call("https://other.example.test/token", fields, form)
token = json.loads(text)
used = call("https://whoami.example.test/", {"Authorization": "Bearer " + token.get("access_token", "")})
print(json.dumps({"status": status, "headers": {k.lower(): v for k, v in headers.items()}, "token": token,
                  "used": [used[0], used[2]], "own": os.environ["API_TOKEN"],
                  "environment": sorted(os.environ.values())}))
"""


def secret(source, more="", rules=RULES):
    return rules + f"""
secret "API_TOKEN" {{ from = {source}, hosts = {{ "whoami.example.test" }} {more} }}
"""


class Tokens:
    """A token endpoint at other.example.test/token, as RFC 6749 has it, and an API at whoami for its latest token."""

    def __init__(self, world, lifetime=3600):
        self.world, self.lifetime = world, lifetime
        self.issued, self.asked, self.seen = [], [], []
        self.broken = None

    def __enter__(self):
        self.world.origin.forget()
        self.world.origin.handler = self.handle
        return self

    def __exit__(self, *_):
        self.world.origin.handler = None

    def handle(self, request, connection):
        if request.get("host", "").startswith("other."):
            if request.path != "/token" or request.method != "POST":
                return False
            self.asked.append(request)
            if self.broken:
                self.answer(connection, 503, {"error": "temporarily_unavailable"})
                return True
            self.issued.append(f"issued-token-{len(self.issued)}-0123456789")
            self.answer(connection, 200, {"access_token": self.issued[-1], "token_type": "bearer",
                                          "expires_in": self.lifetime, "refresh_token": PRIVATE["REFRESH_TOKEN"]})
            return True
        self.seen.append(request.get("authorization"))
        good = bool(self.issued) and self.seen[-1] == f"Bearer {self.issued[-1]}"
        # An echo of the token, which is to be scrubbed.
        self.answer(connection, 200 if good else 401, {"good": good, "said": self.seen[-1]})
        return True

    @staticmethod
    def answer(connection, status, told):
        body = json.dumps(told).encode()
        connection.sendall(f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nConnection: close\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def kept_from(self, got):
        """Nothing of what the host has was seen in the sandbox, or written to the audit log."""
        for value in (*self.issued, *PRIVATE.values()):
            assert value not in got.text + got.errors + got.audit_path.read_text(), value


def answered(got):
    return [r for r in got.audit if r.get("reason") == "answered_by_gate"]


@test("a client's own call of the token endpoint gets the placeholder, which the API takes")
def _(world):
    for user, (grant, source) in zip((0, PLAIN), SOURCES.items()):
        for how in ("basic", "post"):
            with Tokens(world) as tokens:
                got = world.python(CLIENT, grant, how, "", policy=secret(source), user=user, env=PRIVATE).expect(0)
                told = got.json()
                assert told["status"] == 200, told
                assert told["token"]["access_token"] == told["own"], told
                assert told["token"]["token_type"] == "Bearer" and 3500 < told["token"]["expires_in"] <= 3600, told
                assert told["token"].get("scope") == ("read write" if grant == "client_credentials" else None), told
                assert told["headers"]["cache-control"] == "no-store", told
                assert told["used"][0] == 200, told
                assert tokens.seen == [f"Bearer {tokens.issued[0]}"], tokens.seen
                # The broker's own call is the only one that the server saw.
                assert len(tokens.asked) == 1 and b"guests-own-dummy" not in world.origin.received()
                tokens.kept_from(got)
                record, = answered(got)
                assert record["verdict"] == "allow" and record["path"] == "/token" and record["status"] == 200, record
                assert "API_TOKEN" in record["detail"] and record["rule"].startswith("policy.lua:"), record


@test("curl gets it over HTTP/2 and HTTP/1.1, in a form or JSON, where no server is to be reached")
def _(world):
    with Tokens(world) as tokens:
        command = """
            for version in --http2 --http1.1; do
              curl -sS $version -w '%{http_version} %{http_code}\\n' https://other.example.test/token -u me:x -d grant_type=client_credentials
              curl -sS $version --json '{"grant_type":"client_credentials","client_id":"me"}' https://other.example.test/token
            done | sed "s/$API_TOKEN/PLACEHOLDER/"
        """
        # Nobody listens there; so the guest has the choice of the protocol.
        rules = 'allow.http { host = "other.example.test", to = "127.0.0.1:1" }\n'
        got = world.run(command, secret(SOURCES["client_credentials"], rules=rules), env=PRIVATE).expect(0)
        assert got.text.count('"access_token": "PLACEHOLDER"') == 4, got
        assert "\n2 200\n" in got.text and "\n1.1 200\n" in got.text, got
        assert len(tokens.asked) == 1
        tokens.kept_from(got)


@test("without a rule for its host a call is refused, and told which rule would allow it")
def _(world):
    with Tokens(world) as tokens:
        policy = secret(SOURCES["client_credentials"], rules='allow.http { host = "whoami.example.test" }\n')
        got = world.python(CLIENT, "client_credentials", "post", "", policy=policy, env=PRIVATE).expect(0)
        told = got.json()
        assert told["status"] == 403 and told["token"]["type"] == "urn:sallyport:name_not_granted", told
        assert "other.example.test" in told["token"]["how_to_allow"] and "allow.http" in told["token"]["how_to_allow"], told
        assert not answered(got)
        assert len(tokens.asked) == 1


@test("rules decide a call first, and other requests to the endpoint are requests like any")
def _(world):
    with Tokens(world):
        policy = secret(SOURCES["client_credentials"], rules="""
            deny.http { host = "other.example.test", method = "POST", path = "/token" }
            allow.http { host = { "whoami.example.test", "other.example.test" } }""")
        got = world.run("curl -sS -o /dev/null -w '%{http_code}\\n' https://other.example.test/token -d grant_type=client_credentials",
                        policy, env=PRIVATE)
        assert got.text == "403\n" and not answered(got), got
        got = world.run("curl -sS https://other.example.test/token; curl -sS https://other.example.test/revoke -d token=x",
                        secret(SOURCES["client_credentials"]), env=PRIVATE)
        assert got.text == "hello /token\nhello /revoke\n" and not answered(got), got


@test("a secret that the guest is not shown has no endpoint for it")
def _(world):
    with Tokens(world) as tokens:
        policy = secret(SOURCES["client_credentials"], ', expose = false, inject = { authorization = "Bearer {}" }')
        got = world.run("curl -sS -o /dev/null https://other.example.test/token -d grant_type=client_credentials", policy, env=PRIVATE)
        assert not answered(got) and len(tokens.asked) == 2, got


@test("secrets that share an endpoint are told apart by scope, or the call is refused")
def _(world):
    with Tokens(world) as tokens:
        other = SOURCES["client_credentials"].replace('"read", "write"', '"admin"')
        policy = secret(SOURCES["client_credentials"]) + f"""
secret "ADMIN_TOKEN" {{ from = {other}, hosts = {{ "whoami.example.test" }} }}
"""
        told = world.python(CLIENT, "client_credentials", "basic", "read", policy=policy, env=PRIVATE).expect(0).json()
        assert told["token"]["access_token"] == told["own"], told
        told = world.python(CLIENT, "client_credentials", "basic", "admin", policy=policy, env=PRIVATE).expect(0).json()
        assert told["status"] == 200 and told["token"]["access_token"] != told["own"], told
        got = world.python(CLIENT, "client_credentials", "basic", "", policy=policy, env=PRIVATE).expect(0)
        told = got.json()
        assert told["status"] == 400 and told["token"]["error"] == "invalid_request", told
        assert "API_TOKEN, ADMIN_TOKEN" in told["token"]["error_description"], told
        assert got.told(reason="bad_request", status=400), got.audit
        tokens.kept_from(got)


@test("while no token can be had, a call is told why, and works again when one can")
def _(world):
    with Tokens(world, lifetime=1) as tokens:
        call = "curl -sS https://other.example.test/token -u me:x -d grant_type=client_credentials"
        running = world.start(["sh", "-c", f"echo ready; read line; until {call} >/tmp/a; grep -q temporarily /tmp/a; "
                               f"do sleep 0.1; done; cat /tmp/a; echo seen; read line; until {call} | grep -q access_token; "
                               "do sleep 0.1; done"], secret(SOURCES["client_credentials"]), env=PRIVATE)
        assert running.process.stdout.readline() == b"ready\n", running.finish()
        tokens.broken = True
        running.process.stdin.write(b"\n")
        running.process.stdin.flush()
        out = b""
        while b"seen\n" not in out:
            line = running.process.stdout.readline()
            assert line, running.finish()
            out += line
        told = json.loads(out.split(b"seen")[0])
        assert told["error"] == "temporarily_unavailable" and told["status"] == 502, told
        assert "it answered 503" in told["error_description"], told
        tokens.broken = None
        running.finish(b"\n").expect(0)


@test("a GitHub App's client gets its installation's placeholder, with a key of its own")
def _(world):
    work = world.folder_for(0)
    subprocess.run(["openssl", "genrsa", "-out", "app.pem", "2048"], cwd=work, check=True, capture_output=True)
    asked = []

    def handle(request, connection):
        if request.path == "/app/installations/34/access_tokens":
            asked.append(request)
            expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            Tokens.answer(connection, 201, {"token": "ghs_installationtoken0123456789", "expires_at": expires})
            return True
        return False

    world.origin.forget()
    world.origin.handler = handle
    try:
        policy = f"""
            allow.http {{ host = "second.example.test" }}
            secret "API_TOKEN" {{ hosts = {{ "second.example.test" }},
              from = github_app {{ app_id = 12, installation_id = 34, base_url = "https://second.example.test",
                                  private_key = file "{work}/app.pem", permissions = {{ contents = "read" }} }} }}"""
        got = world.run("""
            curl -sS -X POST -w '%{http_code}\\n' -H 'Authorization: Bearer guests.own.jwt' \\
              https://second.example.test/app/installations/34/access_tokens >/tmp/a
            sed "s/$API_TOKEN/PLACEHOLDER/" /tmp/a
            token=$(sed -n 's/.*"token": "\\(.*\\)".*/\\1/p' /tmp/a)
            curl -sS -H "Authorization: token $token" https://second.example.test/user
            """, policy).expect(0)
    finally:
        world.origin.handler = None
    assert '"token": "PLACEHOLDER"' in got.text and '"contents": "read"' in got.text and "\n201\n" in got.text, got
    assert got.text.endswith("hello /user\n"), got
    seen = [r.get("authorization") for r in world.origin.requests if r.path == "/user"]
    assert seen == ["token ghs_installationtoken0123456789"], seen
    assert len(asked) == 1 and b"guests.own.jwt" not in world.origin.received()
    assert "ghs_installationtoken" not in got.text, got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
