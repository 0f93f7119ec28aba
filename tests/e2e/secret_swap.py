#!/usr/bin/env python3
"""Secrets: the guest uses placeholders, the server gets values, and no value is ever inside."""

import base64
import json
import os
import pathlib
import subprocess
import urllib.parse

from harness import PLAIN, World, main, skip, test
from harness.sandbox import descendants, poll
from harness.secrecy import found_nothing, searching, spellings

VALUE = "ghp_R3alT0kenValue/NotForTheGuest+0123456789"
ALLOW = """
allow.http { host = { "whoami.example.test", "other.example.test", "second.example.test" } }
"""
POLICY = ALLOW + """
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" } }
"""


def run(world, command, policy=POLICY, value=VALUE, **more):
    world.origin.forget()
    environment = {"API_TOKEN": value} if value is not None else {}
    return world.run(command, policy=policy, env={**environment, **more.pop("env", {})}, **more)


def only_request(world):
    assert len(world.origin.requests) == 1, [r.raw for r in world.origin.requests]
    return world.origin.requests[0]


def problem(result):
    """The refusal that the guest was told, from curl's output: body, then the status."""
    body, _, status = result.text.rstrip().rpartition("\n")
    told = json.loads(body)
    assert told["status"] == int(status), result
    return told


def refused(world, result, reason, status=403):
    told = problem(result.expect(0))
    assert told["status"] == status, result
    assert reason in told["type"], result
    record = result.told(reason=reason)
    assert record["verdict"] == "deny", record
    assert world.origin.requests == [], "the request reached the server"
    return told


CURL = "curl -sS -w '\\n%{http_code}\\n' "


@test("the guest's variable holds a placeholder of the value's form")
def _(world):
    first = run(world, "printf %s \"$API_TOKEN\"").expect(0).text
    second = run(world, "printf %s \"$API_TOKEN\"").expect(0).text
    assert first != VALUE and first.startswith("ghp_"), first
    assert len(first) == len(VALUE), first
    assert first != second, "two sandboxes got the same placeholder"


@test("a template's placeholder is swapped; what the guest makes of the file stays inside")
def _(world):
    template = world.folder / "config.template"
    template.write_text("header = \"Authorization: Bearer ${API_TOKEN}\"\n# ${HOME} stays, ${API_TOKEN\n")
    policy = f'sandbox {{ mounts = {{ {{ "{template}", "/root/conf/curlrc", template = true }} }} }}\n{POLICY}'
    got = run(world, "curl -sS -K /root/conf/curlrc https://whoami.example.test/ >/dev/null && "
                     "cat /root/conf/curlrc && echo changed >/root/conf/curlrc && env", policy=policy).expect(0)
    assert only_request(world).all("authorization") == [f"Bearer {VALUE}"]
    placeholder = next(line.partition("=")[2] for line in got.text.splitlines() if line.startswith("API_TOKEN="))
    assert got.text.startswith(f'header = "Authorization: Bearer {placeholder}"\n# ${{HOME}} stays, ${{API_TOKEN\n'), got
    assert "${API_TOKEN}" in template.read_text() and "changed" not in template.read_text()


@test("a template that would be written into a mount, or is not there, ends the start")
def _(world):
    folder = world.folder / "mounted"
    folder.mkdir(exist_ok=True)
    for source, words in ((world.folder / "config.template", "would be written into the mount"),
                          (world.folder / "nothing", "No such file")):
        policy = (f'sandbox {{ mounts = {{ {{ "{folder}", "/data", mode = "rw" }},\n'
                  f'{{ "{source}", "/data/x", template = true }} }} }}\n' if "into" in words else
                  f'sandbox {{ mounts = {{ {{ "{source}", "/x", template = true }} }} }}\n') + POLICY
        got = run(world, "true", policy=policy).expect(125)
        assert words.encode() in got.err, got
    assert not list(folder.iterdir())


@test("a bearer token is swapped on the way")
def _(world):
    got = run(world, 'curl -sS -H "Authorization: Bearer $API_TOKEN" '
                     'https://whoami.example.test/hello').expect(0)
    assert got.text == "hello /hello\n"
    assert only_request(world).all("authorization") == [f"Bearer {VALUE}"]
    assert got.told(name="whoami.example.test", transport="https", verdict="allow")["secrets"] == ["API_TOKEN"]


@test("a password is swapped inside Basic, as curl -u and as a netrc file send it")
def _(world):
    expected = "Basic " + base64.b64encode(f"me:{VALUE}".encode()).decode()
    run(world, 'curl -sS -u "me:$API_TOKEN" https://whoami.example.test/').expect(0)
    assert only_request(world).all("authorization") == [expected]
    run(world, 'printf "machine whoami.example.test login me password %s\\n" "$API_TOKEN" '
               '>~/.netrc && curl -sS -n https://whoami.example.test/').expect(0)
    assert only_request(world).all("authorization") == [expected]


@test("a user name is swapped inside Basic")
def _(world):
    run(world, 'curl -sS -u "$API_TOKEN:" https://whoami.example.test/').expect(0)
    expected = "Basic " + base64.b64encode(f"{VALUE}:".encode()).decode()
    assert only_request(world).all("authorization") == [expected]


@test("an API key's header is swapped")
def _(world):
    run(world, 'curl -sS -H "X-Api-Key: $API_TOKEN" https://whoami.example.test/').expect(0)
    assert only_request(world).get("x-api-key") == VALUE


@test("values shorter and longer than their placeholder arrive whole, with the body behind them")
def _(world):
    for value in ("short-8b", "x" * 40, "L" * 3000):
        run(world, 'head -c 70000 /dev/zero | curl -sS --data-binary @- -H "X-Api-Key: $API_TOKEN" '
                   'https://whoami.example.test/echo | wc -c', value=value).expect(0)
        request = only_request(world)
        assert request.get("x-api-key") == value
        assert len(request.body) == 70000


@test("every request of a connection is swapped")
def _(world):
    world.origin.forget()
    world.python("""
import http.client, os
c = http.client.HTTPSConnection("whoami.example.test")
for i in range(50):
    c.request("GET", "/", headers={"Authorization": "Bearer " + os.environ["API_TOKEN"]})
    assert c.getresponse().read()
""", policy=POLICY, env={"API_TOKEN": VALUE}).expect(0)
    assert [r.get("authorization") for r in world.origin.requests] == [f"Bearer {VALUE}"] * 50


@test("the gate adds the credential for a guest that holds nothing")
def _(world):
    policy = ALLOW + """
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" }, expose = false,
                     inject = { authorization = "Bearer {}" } }
"""
    got = run(world, "env | grep -c API_TOKEN; curl -sS https://whoami.example.test/", policy)
    assert got.expect(0).text.startswith("0\n"), got
    assert only_request(world).all("authorization") == [f"Bearer {VALUE}"]
    # It is added only where it belongs.
    run(world, "curl -sS https://other.example.test/", policy).expect(0)
    assert only_request(world).get("authorization") is None


@test("a placeholder towards another host is refused, and the guest reads who may receive it")
def _(world):
    got = run(world, CURL + '-H "Authorization: Bearer $API_TOKEN" https://other.example.test/x')
    told = refused(world, got, "secret_wrong_host")
    assert "whoami.example.test" in told["detail"], told


@test("a placeholder inside Basic towards another host is refused")
def _(world):
    got = run(world, CURL + '-u "me:$API_TOKEN" https://other.example.test/x')
    refused(world, got, "secret_wrong_host")


@test("a redirect to another host does not carry the value there")
def _(world):
    def redirect(request, connection):
        if request.path != "/redirect":
            return False
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://other.example.test/stolen\r\n"
                           b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        return True
    world.origin.handler = redirect
    try:
        run(world, 'curl -sS -L --location-trusted -H "Authorization: Bearer $API_TOKEN" '
                   'https://whoami.example.test/redirect').expect(0)
    finally:
        world.origin.handler = None
    assert [r.path for r in world.origin.requests] == ["/redirect"]


@test("a credential of the guest's own towards the secret's host is refused")
def _(world):
    for credential in ('-H "Authorization: Bearer ghp_MyOwnKeyThatIsNotYours0123456789"',
                       "-u me:mine", '-H "X-Api-Key: mine-0123456789"'):
        got = run(world, CURL + credential + " https://whoami.example.test/x")
        refused(world, got, "foreign_credential")
    # A host without a secret takes whatever the guest sends.
    run(world, "curl -sS -u me:mine https://other.example.test/x").expect(0)
    assert only_request(world).get("authorization") is not None


@test("foreign = \"strip\" takes the guest's credential away, \"pass\" leaves it")
def _(world):
    for how, expected in (("strip", None), ("pass", "Bearer mine-0123456789")):
        policy = POLICY.replace("hosts =", f'foreign = "{how}", hosts =')
        run(world, 'curl -sS -H "Authorization: Bearer mine-0123456789" '
                   'https://whoami.example.test/', policy).expect(0)
        assert only_request(world).get("authorization") == expected


@test("no value goes over plain HTTP")
def _(world):
    got = run(world, CURL + '-H "Authorization: Bearer $API_TOKEN" http://whoami.example.test/x')
    refused(world, got, "secret_wrong_place")


@test("a placeholder in a body or a query stays what it is")
def _(world):
    run(world, 'curl -sS -d "see $API_TOKEN" "https://whoami.example.test/echo?k=$API_TOKEN"'
        ).expect(0)
    request = only_request(world)
    assert VALUE.encode() not in request.raw + request.body
    assert b"see ghp_" in request.body and b"?k=ghp_" in request.raw


@test("a value goes into a path and a query where the policy says so, encoded for its place")
def _(world):
    policy = POLICY.replace("hosts =", "path = true, query = true, hosts =")
    run(world, 'curl -sS "https://whoami.example.test/bot$API_TOKEN/me?a=%41&k=$API_TOKEN&b"; '
               'curl -sS -G --data-urlencode "k=$API_TOKEN" https://whoami.example.test/',
        policy).expect(0)
    got = [r.raw.split(b" ")[1].decode() for r in world.origin.requests]
    in_path = VALUE.replace("/", "%2F")
    in_query = urllib.parse.quote(VALUE, safe="")
    assert got == [f"/bot{in_path}/me?a=%41&k={in_query}&b", f"/?k={in_query}"], got


@test("a hook puts the value into a request of a guest that holds nothing")
def _(world):
    policy = ALLOW + """
local token = secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" },
                                   expose = false, query = true }
on.request("whoami.example.test", function(req)
  req.headers.authorization = "Bearer " .. token
  req.query = "key=" .. token
end)
"""
    got = run(world, "env | grep -c API_TOKEN; curl -sS https://whoami.example.test/", policy)
    assert got.expect(0).text.startswith("0\n"), got
    request = only_request(world)
    assert request.all("authorization") == [f"Bearer {VALUE}"]
    assert b"/?key=" + urllib.parse.quote(VALUE, safe="").encode() in request.raw


@test("a secret opens no host")
def _(world):
    policy = 'allow.http { host = "other.example.test" }'
    got = run(world, CURL + '-H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/x',
              policy, options=["--secret", "API_TOKEN@whoami.example.test"])
    told = problem(got.expect(0))
    assert "name_not_granted" in told["type"], told
    assert world.origin.requests == []


@test("two secrets of one host go where each was put")
def _(world):
    policy = POLICY + """
secret "OTHER" { from = env "OTHER", hosts = { "whoami.example.test" } }
"""
    run(world, 'curl -sS -H "Authorization: Bearer $API_TOKEN" -H "X-Api-Key: $OTHER" '
               'https://whoami.example.test/', policy, env={"OTHER": "other-value-987654321"}
        ).expect(0)
    request = only_request(world)
    assert request.get("authorization") == f"Bearer {VALUE}"
    assert request.get("x-api-key") == "other-value-987654321"


@test("a secret from the command line works like one of the policy")
def _(world):
    run(world, 'curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/', ALLOW,
        options=["--secret", "API_TOKEN@whoami.example.test,second.example.test"]).expect(0)
    assert only_request(world).get("authorization") == f"Bearer {VALUE}"


@test("a secret's value may come from a file, without its last newline")
def _(world):
    folder = world.folder_for(0)
    (folder / "token").write_text(VALUE + "\n")
    (folder / "token").chmod(0o600)
    policy = ALLOW + f"""
secret "API_TOKEN" {{ from = file "{folder}/token", hosts = {{ "whoami.example.test" }} }}
"""
    run(world, 'curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/',
        policy, value=None).expect(0)
    assert only_request(world).get("authorization") == f"Bearer {VALUE}"


@test("a mount that would show the file of a secret is refused")
def _(world):
    folder = world.folder_for(0)
    (folder / "token").write_text(VALUE + "\n")
    policy = ALLOW + f"""
secret "API_TOKEN" {{ from = file "{folder}/token", hosts = {{ "whoami.example.test" }} }}
"""
    got = run(world, "cat /mnt/token", policy, value=None, options=["-v", f"{folder}:/mnt:ro"])
    assert got.code == 125 and "would be seen" in got.errors, got
    assert VALUE not in got.text + got.errors, got


@test("a variable that is not set ends the start with a message that names it")
def _(world):
    got = run(world, "echo started", value=None)
    assert got.code == 125, got
    assert "API_TOKEN" in got.errors, got
    assert "started" not in got.text, got
    got = run(world, "echo started", ALLOW, value=None,
              options=["--secret", "API_TOKEN@whoami.example.test"])
    assert got.code == 125 and "API_TOKEN" in got.errors, got


@test("a value that would break a header is refused without being shown")
def _(world):
    got = run(world, "echo started", value="abcdefgh\nX-Injected: 1")
    assert got.code == 125 and "started" not in got.text, got
    assert "abcdefgh" not in got.errors, got


@test("the guest finds the value in no variable, file, process or answer")
def _(world):
    for user in (0, PLAIN):
        got = run(world, searching('curl -sSv -H "Authorization: Bearer $API_TOKEN" '
                                   'https://whoami.example.test/hello >/tmp/answer 2>&1', VALUE),
                  user=user).expect(0)
        found_nothing(got, VALUE)
        assert only_request(world).get("authorization") == f"Bearer {VALUE}"


def memory_of(pid):
    """Every readable byte of a process, region by region."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            span, access = line.split()[:2]
            if "r" not in access or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            if end - start > 1 << 32:
                continue  # A sanitizer's shadow: reserved, not used.
            try:
                mem.seek(start)
                yield mem.read(end - start)
            except OSError:
                pass


@test("the memory of no process inside holds the value")
def _(world):
    world.origin.forget()
    running = world.start(
        ["sh", "-c", 'curl -sS -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/; '
                     'echo ready; read line'], policy=POLICY, env={"API_TOKEN": VALUE})
    out = b""
    while b"ready" not in out:
        line = running.process.stdout.readline()
        assert line, running.finish()
        out += line
    assert world.origin.requests[0].get("authorization") == f"Bearer {VALUE}"
    mine = os.readlink("/proc/self/ns/pid")
    inside = [pid for pid, _ in descendants(running.pid)
              if os.readlink(f"/proc/{pid}/ns/pid") != mine]
    placeholder_seen = False  # Shows that the search finds what is there.
    for pid in inside:
        for region in memory_of(pid):
            assert VALUE.encode() not in region, f"process {pid} holds the value"
            placeholder_seen |= b"ghp_" in region
    assert len(inside) >= 2 and placeholder_seen, (inside, descendants(running.pid))
    running.finish(b"\n").expect(0)

def unlocked_memory_of(pid):
    """(region's name, bytes) of what a process has that is not locked: where no value may stay."""
    regions = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                start, end = (int(part, 16) for part in words[0].split("-"))
                regions.append([start, end, words[1], words[-1], False])
            elif words[0] == "VmFlags:":
                regions[-1][4] = "lo" in words
    with open(f"/proc/{pid}/mem", "rb") as mem:
        for start, end, access, name, locked in regions:
            if locked or "r" not in access or name.startswith("[v") or end - start > 1 << 32:
                continue  # The last: a sanitizer's shadow, reserved and not used.
            try:
                mem.seek(start)
                yield name, mem.read(end - start)
            except OSError:
                pass


@test("what is not locked of the gate's memory holds no part of a value that was used, rotated and revoked")
def _(world):
    if b"__asan_init" in (world.programs_for(0) / "sandbox-warden").read_bytes():
        skip("AddressSanitizer makes mlock do nothing, so locked memory can't be told apart")
    new = "ghp_An0therT0kenValue/NotForTheGuest+9876543210"
    policy = ALLOW + """
secret "API_TOKEN" { from = env "API_TOKEN", hosts = { "whoami.example.test" }, query = true, body = "json" }
"""
    world.origin.forget()
    running = world.start(["sh", "-c", """
use() {
  curl -sS -o /dev/null -u "me:$API_TOKEN" "https://whoami.example.test/echo?t=$API_TOKEN"
  curl -sS -o /dev/null --http1.1 -H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/
  curl -sS -o /dev/null -H 'Content-Type: application/json' -d "{\\"token\\": \\"$API_TOKEN\\"}" \
    https://whoami.example.test/
}
while read -r line; do use; echo done; done"""], policy=policy, env={"API_TOKEN": VALUE})

    def turn():
        running.process.stdin.write(b"\n")
        running.process.stdin.flush()
        assert running.process.stdout.readline() == b"done\n", running.finish()

    def control(*arguments, value=None):
        subprocess.run([*world.as_user(0), str(world.programs_for(0) / "sandboxctl"), "secret", *arguments], input=value,
                       env=world.environment(0), cwd="/", text=True, timeout=60, check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    turn()
    sandbox = subprocess.run([*world.as_user(0), str(world.programs_for(0) / "sandboxctl"), "ls"], env=world.environment(0),
                             text=True, check=True, stdout=subprocess.PIPE).stdout.split("\n")[1].split()[0]
    control("rotate", sandbox, "API_TOKEN", value=new + "\n")
    turn()
    control("revoke", sandbox, "API_TOKEN")
    turn()
    values = [request.get("authorization") for request in world.origin.requests]
    assert f"Bearer {VALUE}" in values and f"Bearer {new}" in values, values
    mine = os.readlink("/proc/self/ns/pid")
    gates = [(pid, name) for pid, name in descendants(running.pid) if os.readlink(f"/proc/{pid}/ns/pid") == mine]
    parts = {}
    for value in (VALUE, new):
        for spelled in spellings(value):
            parts[spelled[4:28]] = value
            parts[spelled[-24:]] = value
    left, seen = [], set()
    for pid, name in gates:
        for region, data in unlocked_memory_of(pid):
            left += [(name, region, part) for part in parts if part in data]
            if b"API_TOKEN" in data:
                seen.add(name)
    assert left == [], left
    assert {"sandbox-warden", "sandbox-broker"} <= seen, f"the search found only {seen} of {gates}"
    running.finish().expect(0)


@test("no argument list holds the value, and no environment but the caller's")
def _(world):
    running = world.start(["sh", "-c", "echo ready; read line"], policy=POLICY,
                          env={"API_TOKEN": VALUE})
    assert running.process.stdout.readline() == b"ready\n", running.finish()
    family = [(running.pid, "sandboxctl"), *descendants(running.pid)]
    for pid, name in family:
        assert VALUE.encode() not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), name
        if pid != running.pid:
            environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
            assert VALUE.encode() not in environment, f"{name} has it in its environment"
    running.finish(b"\n").expect(0)


@test("neither the audit log nor any output holds the value")
def _(world):
    for command in ('-H "Authorization: Bearer $API_TOKEN" https://whoami.example.test/a',
                    '-u "me:$API_TOKEN" https://whoami.example.test/b',
                    '-u "me:$API_TOKEN" https://other.example.test/c',
                    '-H "X-Api-Key: $API_TOKEN" http://whoami.example.test/d'):
        got = run(world, CURL + command)
        everything = got.out + got.err + got.audit_path.read_bytes()
        for spelled in spellings(VALUE):
            assert spelled not in everything, got
        assert poll(lambda: got.audit), got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
