#!/usr/bin/env python3
"""A container registry through the gate: skopeo in sandboxes, docker-registry outside."""

import base64
import contextlib
import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import warnings

from harness import World, main, patience, skip, test
from harness.origin import Origin
from harness.secrecy import found_nothing, searching, unseen

PASSWORD = "registry-R3alPassword-0123456789"
ADDRESS, TOKEN_ADDRESS, BLOBS_ADDRESS = "11.0.0.90", "11.0.0.91", "11.0.0.92"
POLICY = """
allow.http { host = "registry.example.test" }
secret "PASSWORD" { from = env "PASSWORD", hosts = { "registry.example.test" } }
"""
COPY = "skopeo copy -q --insecure-policy "

CONFIG = """
version: 0.1
log: {{ level: warn }}
storage: {{ filesystem: {{ rootdirectory: {root} }} }}
http:
  addr: {address}:443
  host: https://registry.example.test
  secret: shared-between-nobody
  tls: {{ certificate: {certificate}, key: {key} }}
"""
BASIC = "auth: {{ htpasswd: {{ realm: test, path: {file} }} }}\n"
TOKEN = """
auth: {{ token: {{ realm: "https://auth.example.test/token", service: registry, issuer: test,
                   rootcertbundle: {ca} }} }}
"""
REDIRECT = """
middleware:
  storage:
    - name: redirect
      options:
        baseurl: https://blobs.example.test/
"""


def bcrypt(password):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crypt
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))


class Registry:
    """docker-registry with AUTH, a part of its configuration, until it is closed."""

    def __init__(self, world, auth):
        for program in ("docker-registry", "skopeo"):
            if not shutil.which(program, path="/usr/bin:/bin"):
                skip(f"no {program}")
        self.folder = world.folder_for(0)
        self.storage = self.folder / "storage"
        certificate, key = world.ca.issue("registry", ["registry.example.test"])
        subprocess.run(["ip", "addr", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
        world.dns.zone["registry.example.test"] = [ADDRESS]
        (self.folder / "htpasswd").write_text(f"me:{bcrypt(PASSWORD)}\n")
        config = self.folder / "config.yml"
        config.write_text(CONFIG.format(root=self.storage, address=ADDRESS, certificate=certificate,
                                        key=key) + auth.format(file=self.folder / "htpasswd",
                                                               ca=world.ca.ca))
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(["docker-registry", "serve", str(config)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + patience(20)
        while True:
            try:
                return socket.create_connection((ADDRESS, 443), timeout=5).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def blob(self, digest):
        algorithm, _, text = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / algorithm / text[:2] / text / "data"


@contextlib.contextmanager
def registry(world, auth):
    one = Registry(world, auth)
    try:
        yield one
    finally:
        one.close()


def image(world, layers):
    """A folder with an image of LAYERS, lists of bytes, as skopeo's dir: transport reads it."""
    folder = world.folder_for(0)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        (folder / digest).write_bytes(data)
        return {"size": len(data), "digest": f"sha256:{digest}"}
    parts = [put(gzip.compress(data, mtime=0)) for data in layers]
    config = put(json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [
            "sha256:" + hashlib.sha256(data).hexdigest() for data in layers]}}).encode())
    docker = "application/vnd.docker."
    (folder / "manifest.json").write_text(json.dumps({
        "schemaVersion": 2, "mediaType": docker + "distribution.manifest.v2+json",
        "config": {"mediaType": docker + "container.image.v1+json", **config},
        "layers": [{"mediaType": docker + "image.rootfs.diff.tar.gzip", **part} for part in parts]}))
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    return folder, parts


# Sums up a folder of skopeo's by the files that are named after their digests.
CHECK = r"""cd %s && for f in $(ls | grep -E '^[0-9a-f]{64}$'); do sha256sum "$f"; done |
            awk '$1 != $2 { print "bad", $2 } { n++ } END { print n }'"""


def run(world, line, folder, policy=POLICY, **more):
    return world.run(line, policy=policy, env={"PASSWORD": PASSWORD},
                     options=["-v", f"{folder}:/image:ro"], timeout=120, **more)


@test("skopeo pushes and pulls an image, with a placeholder for its password")
def _(world):
    with registry(world, BASIC) as one:
        folder, layers = image(world, [os.urandom(9_000_000), os.urandom(1000), b"small"])
        login = ("skopeo login -u me -p \"$PASSWORD\" registry.example.test >&2 && ")
        there, back = "docker://registry.example.test/x/y:1", "dir:/tmp/back"
        got = world.run(
            searching(f"exec 3>&1 >&2; {login} {COPY} dir:/image {there} && {COPY} {there} {back} && "
                      f"{{ {CHECK % '/tmp/back'}; }} >&3; exec >&3", PASSWORD),
            policy=POLICY, env={"PASSWORD": PASSWORD}, options=["-v", f"{folder}:/image:ro"],
            timeout=120).expect(0)
        assert found_nothing(got, PASSWORD) == ["4"], got
        for layer in layers:
            digest = hashlib.sha256(one.blob(layer["digest"]).read_bytes()).hexdigest()
            assert f"sha256:{digest}" == layer["digest"]
    seen = {(record.get("method"), record.get("status")) for record in got.audit}
    for pair in (("POST", 202), ("PATCH", 202), ("PUT", 201), ("HEAD", 404), ("GET", 200)):
        assert pair in seen, (pair, seen, got)
    assert all(r["secrets"] == ["PASSWORD"] for r in got.audit if r.get("status") in (201, 202)), got


@test("credentials on skopeo's command line are swapped too, and pushing twice uploads no blob twice")
def _(world):
    with registry(world, BASIC):
        folder, _ = image(world, [os.urandom(100_000)])
        push = f'{COPY} --dest-creds "me:$PASSWORD" dir:/image docker://registry.example.test/z:1'
        run(world, push, folder).expect(0)
        again = run(world, push, folder).expect(0)
        unseen(again, PASSWORD)
        methods = [(r.get("method"), r.get("status")) for r in again.audit]
        assert ("HEAD", 200) in methods and ("PATCH", 202) not in methods, again
        inspected = run(world, 'skopeo inspect --creds "me:$PASSWORD" '
                               "docker://registry.example.test/z:1", folder).expect(0)
        assert len(inspected.json()["Layers"]) == 1, inspected


@test("a blob of unknown length and one of many PATCHes arrive whole, over HTTP/2 and HTTP/1.1")
def _(world):
    blob = os.urandom(3_000_000)
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    code = f"""
start() {{ curl -sS -f $v -u "me:$PASSWORD" -X POST -D - -o /dev/null $at/v2/raw/blobs/uploads/ |
          tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'; }}
patch() {{ curl -sS -f $v -u "me:$PASSWORD" -X PATCH -H 'content-type: application/octet-stream' -D - \\
          -o /dev/null "$@" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'; }}
finish() {{ curl -sS -f $v -u "me:$PASSWORD" -X PUT -w '%{{http_version}} %{{http_code}}\\n' \\
           -o /dev/null "$1&digest={digest}"; }}
at=https://registry.example.test
for v in --http2 --http1.1; do
  finish "$(patch -T - "$(start)" </image/blob)"
  to=$(start)
  for i in 0 1 2; do
    to=$(tail -c +$((i * 1000000 + 1)) /image/blob | head -c 1000000 | patch --data-binary @- "$to")
  done
  finish "$to"
done
curl -sS -f -u "me:$PASSWORD" $at/v2/raw/blobs/{digest} | sha256sum
"""
    with registry(world, BASIC) as one:
        folder = world.folder_for(0)
        (folder / "blob").write_bytes(blob)
        got = run(world, code, folder).expect(0)
        assert got.text.splitlines() == ["2 201"] * 2 + ["1.1 201"] * 2 + [digest[7:] + "  -"], got
        assert one.blob(digest).read_bytes() == blob
        unseen(got, PASSWORD)


@test("a registry's redirect to its blobs is followed without the credential")
def _(world):
    with registry(world, BASIC + REDIRECT) as one:
        subprocess.run(["ip", "addr", "replace", f"{BLOBS_ADDRESS}/32", "dev", "lo"], check=True)
        world.dns.zone["blobs.example.test"] = [BLOBS_ADDRESS]
        blobs = Origin([(BLOBS_ADDRESS, 443)], world.ca.issue("blobs", ["blobs.example.test"]))

        def serve(request, connection):
            body = (one.storage / request.path.lstrip("/")).read_bytes()
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                               % len(body) + body)
            return True
        blobs.handler = serve
        try:
            folder, _ = image(world, [os.urandom(2_000_000)])
            there = "docker://registry.example.test/far:1"
            got = run(world, f'{COPY} --dest-creds "me:$PASSWORD" dir:/image {there} && '
                             f'{COPY} --src-creds "me:$PASSWORD" {there} dir:/tmp/back && '
                             + CHECK % "/tmp/back", folder,
                      POLICY + 'allow.http { host = "blobs.example.test", method = "GET" }\n'
                      ).expect(0)
        finally:
            blobs.close()
        assert got.text == "2\n", got
        assert len(blobs.requests) >= 2, blobs.requests
        for request in blobs.requests:
            assert request.get("authorization") is None, request.raw
        unseen(got, PASSWORD)
        # Where the policy doesn't grant the blobs' host, the client reads why.
        refused = run(world, f'{COPY} --src-creds "me:$PASSWORD" {there} dir:/tmp/back', folder)
        assert refused.code != 0 and "403" in refused.errors, refused


def raw_signature(der):
    """The two numbers of an ECDSA signature on P-256, as JSON Web Signatures have them."""
    first = der[4:4 + der[3]]
    second = der[6 + der[3]:]
    return b"".join(n.lstrip(b"\0").rjust(32, b"\0") for n in (first, second))


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_token(world, repository):
    """What a registry's token service hands out (JSON Web Token, RFC 7519)."""
    certificate, key = world.ca.issue("tokens", ["tokens.example.test"])
    der = subprocess.run(["openssl", "x509", "-in", str(certificate), "-outform", "DER"], check=True,
                         capture_output=True).stdout
    now = int(time.time())
    header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    claims = {"iss": "test", "sub": "me", "aud": "registry", "exp": now + 3600, "nbf": now - 60,
              "iat": now, "jti": "1", "access": [{"type": "repository", "name": repository,
                                                  "actions": ["pull", "push"]}]}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(key)], check=True,
                               input=text.encode(), capture_output=True).stdout
    return text + "." + base64url(raw_signature(signature))


@test("a registry's token service gets the password, the registry gets the token")
def _(world):
    with registry(world, TOKEN):
        subprocess.run(["ip", "addr", "replace", f"{TOKEN_ADDRESS}/32", "dev", "lo"], check=True)
        world.dns.zone["auth.example.test"] = [TOKEN_ADDRESS]
        service = Origin([(TOKEN_ADDRESS, 443)], world.ca.issue("auth", ["auth.example.test"]))
        expected = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        answer = json.dumps({"token": signed_token(world, "t"), "expires_in": 3600}).encode()

        def hand_out(request, connection):
            right = request.get("authorization") == expected
            body = answer if right else b"{}"
            connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close"
                               b"\r\nContent-Length: %d\r\n\r\n"
                               % (b"200 OK" if right else b"401 No", len(body)) + body)
            return True
        service.handler = hand_out
        policy = """
allow.http { host = { "registry.example.test", "auth.example.test" } }
secret "PASSWORD" { from = env "PASSWORD", hosts = { "auth.example.test" } }
"""
        folder, _ = image(world, [os.urandom(50_000)])
        there = "docker://registry.example.test/t:1"
        try:
            got = run(world, f'{COPY} --dest-creds "me:$PASSWORD" dir:/image {there} && '
                             f'{COPY} --src-creds "me:$PASSWORD" {there} dir:/tmp/back && '
                             + CHECK % "/tmp/back", folder, policy).expect(0)
        finally:
            service.close()
        assert got.text == "2\n", got
        assert service.requests and all(r.get("authorization") == expected
                                        for r in service.requests)
        unseen(got, PASSWORD)


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
