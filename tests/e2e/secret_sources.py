#!/usr/bin/env python3
"""Secrets that come from commands and servers: real sandboxes, with a token endpoint and a GitHub of the
tests' own, over TLS."""

import base64
import hashlib
import http.server
import json
import os
import ssl
import subprocess
import threading
import time

from harness import PLAIN, World, main, test
from harness.pki import Authority
from harness.sandbox import descendants, poll

ALLOW = """
allow.http { host = { "whoami.example.test", "repo.example.test" } }
"""
CURL = 'curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/'


def secret(source, more=""):
    return ALLOW + f"""
secret "API_TOKEN" {{ from = {source}, hosts = {{ "whoami.example.test", "repo.example.test" }} {more} }}
"""


def answer(connection, status, body, kind="application/json", extra=""):
    body = body.encode()
    connection.sendall(f"HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                       f"{extra}Connection: close\r\n\r\n".encode() + body)


class Tokens:
    """A token endpoint at other.example.test/token and an API at whoami that takes `valid` only."""

    def __init__(self, world, lifetime=3600, rotate=False):
        self.world, self.lifetime, self.rotate = world, lifetime, rotate
        self.issued, self.asked, self.refused = [], [], 0
        self.valid = None
        self.broken = None

    def __enter__(self):
        self.world.origin.forget()
        self.world.origin.handler = self.handle
        return self

    def __exit__(self, *_):
        self.world.origin.handler = None

    def handle(self, request, connection):
        if request.path == "/token":
            self.asked.append(request)
            if self.broken:
                answer(connection, *self.broken)
                return True
            self.issued.append(f"issued-token-{len(self.issued)}-0123456789")
            self.valid = self.issued[-1]
            told = {"access_token": self.valid, "token_type": "Bearer", "expires_in": self.lifetime}
            if self.rotate:
                told["refresh_token"] = f"refresh-{len(self.issued)}"
            answer(connection, 200, json.dumps(told))
            return True
        if self.valid is not None and request.get("authorization") != f"Bearer {self.valid}":
            self.refused += 1
            answer(connection, 401, "{}")
            return True
        return number(request, connection)


OAUTH = """oauth2 { token_url = "https://other.example.test/token", client_id = "me",
                    client_secret = env "CLIENT_SECRET" }"""


def number(request, connection):
    """Tells which value came, in words that are no value: those are scrubbed. Values say it second."""
    if request.path != "/number":
        return False
    answer(connection, 200, f"number {request.get('authorization').split('-')[-2]}\n")
    return True


def bearer(world):
    return [r.get("authorization") for r in world.origin.requests if r.path not in ("/token",)]


@test("a command's output is the secret, with the user's environment and the policy's folder")
def _(world):
    for user in (0, PLAIN):
        world.origin.forget()
        source = 'command { "sh", "-c", "printf %s-%s \\"$WORD\\" \\"$(cat policy.lua | wc -l)\\"", lifetime = "1h" }'
        policy = secret(source)
        world.run(CURL, policy, user, env={"WORD": "value-of-the-command"}).expect(0)
        lines = policy.count("\n")
        assert bearer(world) == [f"Bearer value-of-the-command-{lines}"], bearer(world)


@test("a command runs as the user, and its environment does not reach the sandbox")
def _(world):
    world.origin.forget()
    got = world.run(CURL + "; env", secret('command { "sh", "-c", "echo user-$(id -u)-0123456789" }'), PLAIN,
                    env={"PRIVATE": "not-for-the-guest"}).expect(0)
    assert bearer(world) == [f"Bearer user-{PLAIN}-0123456789"]
    assert "not-for-the-guest" not in got.text, got


@test("a command that fails ends the start with what it complained about")
def _(world):
    for source, words in (('command { "sh", "-c", "echo not logged in >&2; exit 4" }', "status 4: not logged in"),
                          ('command { "no-such-program" }', "no-such-program: No such file"),
                          ('command { "true" }', "printed nothing")):
        got = world.run("echo started", secret(source))
        assert got.code == 125 and words in got.errors and "policy.lua:4" in got.errors, got
        assert "started" not in got.text, got


@test("policy check runs no command and reads no secret")
def _(world):
    folder = world.folder_for(0)
    (folder / "policy.lua").write_text(secret(f'command {{ "touch", "{folder}/ran" }}'))
    world.sandboxctl("policy", "check", str(folder / "policy.lua")).expect(0)
    assert not (folder / "ran").exists()


@test("a command's value is renewed while the sandbox runs, before it ends")
def _(world):
    world.origin.forget()
    folder = world.folder_for(0)
    source = f'command {{ "sh", "-c", "echo x >>{folder}/runs; echo run-$(wc -l <{folder}/runs)-0123456789", lifetime = "1s" }}'
    world.origin.handler = number
    try:
        world.run(f"before=$API_TOKEN; {CURL} >/dev/null; "
                  f"while {CURL}number | grep -q 'number 1'; do sleep 0.1; done; test $before = $API_TOKEN",
                  secret(source)).expect(0)
    finally:
        world.origin.handler = None
    seen = bearer(world)
    assert seen[0] == "Bearer run-1-0123456789", seen
    assert seen[-1].startswith("Bearer run-") and seen[-1] != seen[0], seen


@test("client credentials are exchanged for a token, which the guest never sees")
def _(world):
    with Tokens(world) as tokens:
        got = world.run(CURL, secret(OAUTH), env={"CLIENT_SECRET": "hunter2/+"}).expect(0)
        expected = "Basic " + base64.b64encode(b"me:hunter2%2F%2B").decode()
        assert [r.get("authorization") for r in tokens.asked] == [expected]
        assert bearer(world) == [f"Bearer {tokens.issued[0]}"]
        audit = got.audit_path.read_text()
        for value in (tokens.issued[0], "hunter2"):
            assert value not in got.text + got.errors + audit


@test("a plain user gets tokens, too")
def _(world):
    with Tokens(world) as tokens:
        world.run(CURL, secret(OAUTH), PLAIN, env={"CLIENT_SECRET": "hunter2"}).expect(0)
        assert bearer(world) == [f"Bearer {tokens.issued[0]}"]


@test("a token is renewed before the server's expires_in is over")
def _(world):
    with Tokens(world, lifetime=2) as tokens:
        world.run("until " + CURL + "number | grep -q 'number 2'; do sleep 0.1; done", secret(OAUTH),
                  env={"CLIENT_SECRET": "hunter2"}).expect(0)
        assert len(tokens.issued) >= 3, tokens.issued
        assert bearer(world)[-1] == f"Bearer {tokens.issued[2]}"


@test("a token that the server revoked is renewed at its 401, and the guest sees the answer")
def _(world):
    with Tokens(world) as tokens:
        running = world.start(["sh", "-c", f"{CURL}; echo ready; read line; {CURL}"], secret(OAUTH),
                              env={"CLIENT_SECRET": "hunter2"})
        out = b""
        while b"ready" not in out:
            line = running.process.stdout.readline()
            assert line, running.finish()
            out += line
        tokens.valid = "revoked"
        got = running.finish(b"\n").expect(0)
        assert got.text == "hello /\n", got
        assert len(tokens.issued) == 2 and tokens.refused == 1, (tokens.issued, tokens.refused)
        assert bearer(world)[-1] == f"Bearer {tokens.issued[1]}"


@test("an endpoint's refusal ends the start with its words, and without the secret")
def _(world):
    with Tokens(world) as tokens:
        tokens.broken = (401, '{"error":"invalid_client","error_description":"hunter2 is wrong"}')
        got = world.run("echo started", secret(OAUTH), env={"CLIENT_SECRET": "hunter2"})
        assert got.code == 125 and "invalid_client" in got.errors, got
        assert "hunter2" not in got.errors and "started" not in got.text, got


@test("a secret whose value has expired is refused with the reason, until its source works again")
def _(world):
    with Tokens(world, lifetime=1) as tokens:
        running = world.start(
            ["sh", "-c", "echo ready; read line; until " + CURL + " >/tmp/a && grep -q expired /tmp/a; "
             "do sleep 0.1; done; cat /tmp/a; echo; echo seen; read line; until " + CURL +
             " | grep -q hello; do sleep 0.1; done"], secret(OAUTH), env={"CLIENT_SECRET": "hunter2"})
        assert running.process.stdout.readline() == b"ready\n", running.finish()
        tokens.broken = (503, '{"error":"temporarily_unavailable"}')
        running.process.stdin.write(b"\n")
        running.process.stdin.flush()
        out = b""
        while b"seen\n" not in out:
            line = running.process.stdout.readline()
            assert line, running.finish()
            out += line
        assert b"secret_unavailable" in out and b"temporarily_unavailable" in out, out
        tokens.broken = None
        running.finish(b"\n").expect(0)


@test("an endpoint on a private address is refused unless the policy says private")
def _(world):
    world.forbidden.forget()
    source = OAUTH.replace("https://other.example.test/token", "https://inside.example.test/token")
    world.dns.zone["inside.example.test"] = ["10.0.0.80"]
    got = world.run("echo started", secret(source), env={"CLIENT_SECRET": "hunter2"})
    assert got.code == 125 and "addresses that are refused" in got.errors, got
    assert world.forbidden.connections == 0


@test("a rotated refresh token is written back with the mode and the owner it had")
def _(world):
    for user in (0, PLAIN):
        folder = world.folder_for(user)
        file = folder / "refresh"
        file.write_text("refresh-0\n")
        os.chown(file, user, user)
        file.chmod(0o600)
        source = f"""oauth2 {{ token_url = "https://other.example.test/token", client_id = "me",
                               refresh_token = file "{file}" }}"""
        with Tokens(world, rotate=True):
            world.run(CURL, secret(source), user).expect(0)
        assert file.read_text() == "refresh-1\n", file.read_text()
        info = file.stat()
        assert (info.st_uid, info.st_mode & 0o777) == (user, 0o600), info
        assert [p.name for p in folder.iterdir() if p.name.startswith(".sallyport")] == []


class CorporateTokens(http.server.BaseHTTPRequestHandler):
    """A token endpoint that only clients with a certificate of its own authority may ask."""

    def do_POST(self):
        body = b'{"access_token":"corporate-token-0123456789","token_type":"Bearer"}'
        self.server.shown.append(self.connection.getpeercert())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@test("a token endpoint with a private authority, a pin and client certificates is asked as `upstream` says")
def _(world):
    corporate = Authority(world.folder_for(0) / "pki", "Corporate")
    certificate, key = corporate.issue("id", ["nobody.example.test"])
    client, client_key = corporate.issue("gate", ["gate.example.test"], purpose="clientAuth")
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True,
                            capture_output=True).stdout
    pin = "sha256/" + base64.b64encode(hashlib.sha256(public).digest()).decode()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.load_verify_locations(corporate.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("11.0.0.85", 9443), CorporateTokens)
    server.shown = []
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    policy = secret(OAUTH.replace("https://other.example.test/token", "https://nobody.example.test:9443/token"))
    declared = f"""upstream "nobody.example.test" {{ ca = "{corporate.ca}", pin = "{pin}",
        client_cert = {{ cert = "{client}", key = file "{client_key}" }} }}\n"""
    env = {"CLIENT_SECRET": "hunter2"}
    try:
        world.origin.forget()
        world.run(CURL, declared + policy, env=env).expect(0)
        assert bearer(world) == ["Bearer corporate-token-0123456789"]
        assert len(server.shown) == 1 and server.shown[0]["subject"][0][0] == ("commonName", "gate.example.test")
        for wrong, words in ((declared.replace(pin, "sha256/" + "A" * 43 + "="), "pins"), ("", "TLS failed")):
            got = world.run("echo started", wrong + policy, env=env)
            assert got.code == 125 and words in got.errors and "hunter2" not in got.errors, got
        assert len(server.shown) == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class GitHub:
    """An installation's tokens at other.example.test, given to whom the app's key has signed."""

    def __init__(self, world):
        self.world, self.folder = world, world.folder_for(0)
        for line in ("genrsa -traditional -out app.pem 2048", "rsa -in app.pem -pubout -out app.pub"):
            subprocess.run(["openssl", *line.split()], cwd=self.folder, check=True, capture_output=True)
        self.claims, self.asked = [], []

    def __enter__(self):
        self.world.origin.forget()
        self.world.origin.handler = self.handle
        return self

    def __exit__(self, *_):
        self.world.origin.handler = None

    def handle(self, request, connection):
        if request.path != "/app/installations/34/access_tokens":
            return False
        self.asked.append(request)
        if not self.signed(request.get("authorization").removeprefix("Bearer ")):
            answer(connection, 401, '{"message":"A JSON web token could not be decoded"}')
            return True
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        answer(connection, 201, json.dumps({"token": "ghs_installationtoken0123456789", "expires_at": expires}))
        return True

    def signed(self, jwt):
        def decode(text):
            return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        head, claims, signature = jwt.split(".")
        (self.folder / "signature").write_bytes(decode(signature))
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", "app.pub", "-signature", "signature"],
                              input=f"{head}.{claims}".encode(), cwd=self.folder, capture_output=True, check=False)
        self.claims.append(json.loads(decode(claims)))
        now = time.time()
        return (done.returncode == 0 and json.loads(decode(head)) == {"alg": "RS256", "typ": "JWT"}
                and self.claims[-1]["iss"] == "12" and self.claims[-1]["iat"] <= now < self.claims[-1]["exp"] <= now + 600)


@test("a GitHub App's token serves the API and git, and the key never leaves the host")
def _(world):
    with GitHub(world) as github:
        policy = secret(f"""github_app {{ app_id = 12, installation_id = 34, base_url = "https://other.example.test",
            private_key = file "{github.folder}/app.pem", repositories = {{ "one" }} }}""")
        world.origin.git_password = "ghs_installationtoken0123456789"
        work = world.folder_for(0)
        subprocess.run(["sh", "-c", "git init -q --bare repo.git && git init -q w && cd w && "
                        "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git push -q ../repo.git HEAD:main"],
                       cwd=work, check=True, capture_output=True)
        world.origin.git_root = work
        try:
            got = world.run(CURL + '; git ls-remote "https://x-access-token:$API_TOKEN@repo.example.test/git/repo.git"',
                            policy, env={"GIT_TERMINAL_PROMPT": "0"}).expect(0)
        finally:
            world.origin.git_root = world.origin.git_password = None
        assert "refs/heads/main" in got.text, got
        assert len(github.asked) == 1 and len(github.claims) == 1
        seen = [r.get("authorization") for r in world.origin.requests if r.path == "/"]
        assert seen == ["Bearer ghs_installationtoken0123456789"], seen


@test("the broker ends with its sandbox, also while a command runs, and the sandbox with its broker")
def _(world):
    policy = secret('command { "sh", "-c", "echo value-0123456789; test -e started && exec sleep 1000; touch started", lifetime = "1s" }')
    for name in ("sandbox-broker", "sandbox-errands"):
        running = world.start(["sh", "-c", "echo ready; sleep 1000"], policy)
        assert running.process.stdout.readline() == b"ready\n", running.finish()
        # The program's, and the command's when it is run anew.
        assert poll(lambda: [n for _, n in descendants(running.pid)].count("sleep") == 2, 20), descendants(running.pid)
        pid = next(p for p, n in descendants(running.pid) if n.startswith(name[:15]))
        os.kill(pid, 9)
        if name == "sandbox-broker":
            got = running.finish(timeout=20)
            assert got.code == 125 and "broker" in got.errors, got
        else:
            running.process.kill()
            running.finish(timeout=20)
        world.nothing_left(f"after {name} was killed")


@test("a sandbox without a secret has no broker")
def _(world):
    running = world.start(["sh", "-c", "echo ready; read line"], ALLOW)
    assert running.process.stdout.readline() == b"ready\n", running.finish()
    names = [name for _, name in descendants(running.pid)]
    assert not any(name.startswith("sandbox-b") for name in names), names
    running.finish(b"\n").expect(0)


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
