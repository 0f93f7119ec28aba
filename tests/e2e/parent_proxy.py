#!/usr/bin/env python3
"""A host that is behind a proxy: real sandboxes through a real squid that wants a password."""

import base64
import os
import pathlib
import shutil
import subprocess
import time

from harness import PLAIN, ROOT, World, main, patience, skip, test
from harness.sandbox import poll

HOSTS = ["api", "whoami", "other", "third", "inside", "denied"]
ALLOW = ('allow.http { host = { %s } }\n' %
         ", ".join(f'"{name}.example.test"' for name in HOSTS))
PROXY = 'upstream { proxy = env "HTTPS_PROXY" }\n'
PASSWORD = "correct-horse/battery%staple"
SPELLED = "correct-horse%2Fbattery%25staple"
URL = f"http://me:{SPELLED}@10.0.0.80:3128"
ENV = {"HTTPS_PROXY": URL}
CURL = "curl -sS -m 20 "

CONFIG = """
http_port 10.0.0.80:3128
auth_param basic program {folder}/check
auth_param basic children 1 startup=1 idle=1
acl known proxy_auth REQUIRED
acl denied dstdomain denied.example.test
http_access deny !known
http_access deny denied
http_access allow all
dns_nameservers 11.0.0.53
hosts_file {folder}/hosts
logformat short %rm %ru %un %>Hs
access_log stdio:{folder}/access.log short
cache_log {folder}/cache.log
pid_filename none
coredump_dir none
netdb_filename none
pinger_enable off
cache deny all
logfile_rotate 0
shutdown_lifetime 0 seconds
"""

CHECK = f"""#!/usr/bin/python3
import sys, urllib.parse
for line in sys.stdin:
    user, _, password = line.strip().partition(" ")
    good = (user, urllib.parse.unquote(password)) == ("me", {PASSWORD!r})
    print("OK" if good else "ERR", flush=True)
"""


class Squid:
    """squid on 10.0.0.80:3128, an address that no sandbox may reach."""

    def __init__(self, world):
        program = shutil.which("squid", path=os.environ["PATH"] + ":/usr/sbin")
        if not program:
            skip("squid is not installed")
        self.folder = pathlib.Path(world.folder) / "squid"
        self.folder.mkdir()
        shutil.chown(self.folder, "proxy")
        (self.folder / "check").write_text(CHECK)
        (self.folder / "check").chmod(0o755)
        # Known to the proxy alone: the zone has no such name.
        (self.folder / "hosts").write_text("11.0.0.81 third.example.test\n")
        del world.dns.zone["third.example.test"]
        (self.folder / "squid.conf").write_text(CONFIG.format(folder=self.folder))
        self.process = subprocess.Popen(
            [program, "-N", "-f", str(self.folder / "squid.conf")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        world._closing.append(self)
        deadline = time.monotonic() + patience(30)
        while b"Accepting" not in self._read("cache.log"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"squid: {self._read('cache.log').decode()}")
            time.sleep(0.05)

    def _read(self, name):
        file = self.folder / name
        return file.read_bytes() if file.exists() else b""

    def log(self):
        """["CONNECT api.example.test:443 me 200", …], of tunnels that have ended."""
        return self._read("access.log").decode().splitlines()

    def forget(self):
        poll(lambda: False, 0.2)
        if (self.folder / "access.log").exists():
            os.truncate(self.folder / "access.log", 0)

    def saw(self, line):
        return poll(lambda: line in self.log(), 10)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)


class Behind(World):
    """The world, with a squid; the proxy belongs to what is there before the first sandbox."""

    def _build(self):
        super()._build()
        self.squid = Squid(self)
        self.dns.zone["denied.example.test"] = ["11.0.0.81"]


def run(world, command, policy=ALLOW + PROXY, env=None, **more):
    return world.run(command, policy, env=ENV if env is None else env, **more)


@test("HTTPS goes through the proxy by name, with the user and password: HTTP/2 and HTTP/1.1")
def _(world):
    world.squid.forget()
    for user in (PLAIN, ROOT):
        got = run(world, CURL + "-w '%{http_version}\\n' -f https://api.example.test/small",
                  user=user).expect(0)
        assert got.text == "small\n2\n", got
    run(world, CURL + "--http1.1 -f https://whoami.example.test/").expect(0)
    for name in ("api", "whoami"):
        line = f"CONNECT {name}.example.test:443 me 200"
        assert world.squid.saw(line), world.squid.log()
    record = got.told(name="api.example.test", reason="allowed", transport="https")
    assert record["address"] == "10.0.0.80", record


@test("plain HTTP, TLS that is passed through, and raw TCP go through it too")
def _(world):
    world.squid.forget()
    run(world, CURL + "-f http://api.example.test/small").expect(0)
    assert world.squid.saw("CONNECT api.example.test:80 me 200"), world.squid.log()
    policy = 'allow.http { host = "selfsigned.example.test", tls = "passthrough" }\n' + PROXY
    run(world, CURL + "-kf https://selfsigned.example.test/small", policy).expect(0)
    assert world.squid.saw("CONNECT selfsigned.example.test:443 me 200"), world.squid.log()
    code = ("import socket; s = socket.create_connection(('whoami.example.test', 80), 10); "
            "s.sendall(b'GET /raw HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); "
            "print(s.makefile('rb').read())")
    policy = 'allow.tcp { host = "whoami.example.test", port = 80 }\n' + PROXY
    got = run(world, ["python3", "-c", code], policy).expect(0)
    assert "hello /raw" in got.text, got
    assert world.squid.saw("CONNECT whoami.example.test:80 me 200"), world.squid.log()


@test("a name that this host can't resolve is left to the proxy")
def _(world):
    got = run(world, CURL + "-f https://third.example.test/x").expect(0)
    assert "hello /x" in got.text, got
    direct = run(world, CURL + "https://third.example.test/x", ALLOW)
    assert direct.code == 6, direct  # CURLE_COULDNT_RESOLVE_HOST


@test("a secret's value goes out through the proxy, and to its host alone")
def _(world):
    world.origin.forget()
    policy = ALLOW + PROXY + """
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""
    run(world, CURL + '-f -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/', policy,
        {**ENV, "API_TOKEN": "value-0123456789"}).expect(0)
    seen = [r.get("authorization") for r in world.origin.requests]
    assert seen == ["Bearer value-0123456789"], seen
    assert b"roxy-" not in world.origin.received(), world.origin.received()


@test("a token endpoint is asked through the proxy")
def _(world):
    world.squid.forget()
    policy = ALLOW + PROXY + """
secret "API_TOKEN" { hosts = { "whoami.example.test" },
  from = oauth2 { token_url = "https://other.example.test/token", client_id = "me",
                  client_secret = env "CLIENT_SECRET" } }
"""

    def token(request, connection):
        if request.path != "/token":
            return False
        body = b'{"access_token":"issued-token-0123456789","token_type":"Bearer","expires_in":3600}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                           + str(len(body)).encode() + b"\r\nConnection: close\r\n\r\n" + body)
        return True

    world.origin.handler = token
    try:
        run(world, "true", policy, {**ENV, "CLIENT_SECRET": "hunter2"}).expect(0)
    finally:
        world.origin.handler = None
    assert world.squid.saw("CONNECT other.example.test:443 me 200"), world.squid.log()


@test("git clones through the proxy")
def _(world):
    work = world.folder_for(0)
    subprocess.run(["sh", "-c", "git init -q --bare repo.git && git init -q w && cd w && "
                    "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && "
                    "git push -q ../repo.git HEAD:main"], cwd=work, check=True, capture_output=True)
    world.origin.git_root = work
    try:
        got = run(world, "git clone -q -b main https://whoami.example.test/git/repo.git /tmp/clone && "
                         "git -C /tmp/clone log --format=%s").expect(0)
    finally:
        world.origin.git_root = None
    assert got.text == "x\n", got


@test("a wrong password is a 502 that says so and shows nothing of it")
def _(world):
    env = {"HTTPS_PROXY": "http://me:wrong-password@10.0.0.80:3128"}
    got = run(world, CURL + "https://api.example.test/small", env=env).expect(0)
    told = got.json()
    assert told["status"] == 502 and told["type"] == "urn:sallyport:proxy_refused", told
    assert "10.0.0.80:3128 does not accept the user and password" in told["detail"], told
    got.told(name="api.example.test", reason="proxy_refused", transport="https")
    everything = got.text + got.errors + got.audit_path.read_text()
    encoded = base64.b64encode(b"me:wrong-password").decode()
    assert "wrong-password" not in everything and encoded not in everything, got


@test("a proxy that refuses the host, or is not there, is a readable 502")
def _(world):
    told = run(world, CURL + "https://denied.example.test/").expect(0).json()
    assert told["status"] == 502 and "answers 403 to CONNECT denied.example.test:443" in told["detail"], told
    env = {"HTTPS_PROXY": "http://10.0.0.80:3999"}
    told = run(world, CURL + "https://api.example.test/", env=env).expect(0).json()
    assert told["status"] == 502 and told["type"] == "urn:sallyport:proxy_refused", told
    assert "10.0.0.80:3999" in told["detail"] and "refused" in told["detail"], told


@test("the guard is on the target: special addresses are refused before the proxy is asked")
def _(world):
    world.squid.forget()
    world.forbidden.forget()
    for addresses in (["10.0.0.80"], ["169.254.169.254"], ["127.0.0.1"], ["11.0.0.80", "10.0.0.80"]):
        world.dns.zone["inside.example.test"] = addresses
        told = run(world, CURL + "http://inside.example.test/").expect(0).json()
        assert told["type"] == "urn:sallyport:address_refused", told
    # Nor is the proxy itself open to a guest.
    got = run(world, CURL + "http://10.0.0.80:3128/; " + CURL + "http://169.254.169.254/")
    assert got.code != 0 and got.text == "", got
    assert world.forbidden.connections == 0 and world.squid.log() == [], world.squid.log()


@test("no_proxy goes past it, by name and by the addresses of a name")
def _(world):
    world.squid.forget()
    for entry in ("whoami.example.test", "*.example.test", "11.0.0.0/8", "*"):
        policy = ALLOW + f'upstream {{ proxy = env "HTTPS_PROXY", no_proxy = "{entry}" }}\n'
        got = run(world, CURL + "-f https://whoami.example.test/", policy).expect(0)
        assert got.told(name="whoami.example.test", transport="https")["address"] == "11.0.0.81"
    assert world.squid.log() == [], world.squid.log()


@test("the environment's proxy is used where the policy says so, and no proxy where it names none")
def _(world):
    policy = ALLOW + 'upstream { proxy = "environment" }\n'
    for env, proxied in (({}, False), ({"https_proxy": URL}, True), (ENV, True),
                         ({**ENV, "NO_PROXY": "example.test"}, False)):
        world.squid.forget()
        got = run(world, CURL + "-f https://whoami.example.test/", policy, env).expect(0)
        address = got.told(name="whoami.example.test", transport="https")["address"]
        assert address == ("10.0.0.80" if proxied else "11.0.0.81"), (env, address)
    got = run(world, CURL + "-f https://whoami.example.test/", ALLOW, ENV).expect(0)
    assert got.told(name="whoami.example.test", transport="https")["address"] == "11.0.0.81"


@test("a proxy that can't be known ends the start without showing it")
def _(world):
    got = run(world, "echo started", env={})
    assert got.code == 125 and "HTTPS_PROXY" in got.errors and "started" not in got.text, got
    got = run(world, "echo started", env={"HTTPS_PROXY": "socks5://me:hunter2@x:1"})
    assert got.code == 125 and "only http:// proxies" in got.errors, got
    assert "hunter2" not in got.errors, got


@test("the guest finds the password in no variable, file or process, and no log has it")
def _(world):
    folder = world.folder_for(0)
    (folder / "proxy").write_text(URL + "\n")
    policy = ALLOW + f'upstream {{ proxy = file "{folder}/proxy" }}\n'
    search = ("env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; "
              "grep -rs %s /tmp /etc /run /var /home /root; " % SPELLED[:8].replace("c", "[c]"))
    got = run(world, search + CURL + "-fv https://api.example.test/small", policy,
              env={}).expect(0)
    assert "small" in got.text, got
    everything = got.text + got.errors + got.audit_path.read_text()
    for spelled in (PASSWORD, SPELLED, base64.b64encode(f"me:{PASSWORD}".encode()).decode()):
        assert spelled not in everything, got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(Behind)
