"""A network of its own to run sandboxes in: namespaces that only this test process sees (netns.py), with
addresses that count as public and belong to another machine than the one the sandboxes run on, a recording DNS server, nginx and a recording origin.

    11.0.0.53                DNS server
    11.0.0.80  2600:11::80   nginx         api, git, static .example.test;   80, 443
                              pypi.org
    11.0.0.81  2600:11::81   Origin        whoami, other, … .example.test    80, 443, 8443
    11.0.0.82                nginx, self-signed certificate                  443
    11.0.0.83                nginx, expired certificate                      443
    11.0.0.84                nginx, certificate of another name              443
    11.0.0.85                nobody: connections are refused
    10.0.0.80, 127.0.0.1     Origin on port 8000: what no sandbox may reach; 127.0.0.1 and
    11.0.254.2               are the sandboxes' own host's

Nothing of it exists outside of the process, and all of it ends with it.
"""

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile

from . import netns, sandbox, schema
from .dns_server import DnsServer
from .nginx import Nginx
from .origin import Origin
from .pki import Authority
from .runner import skip
from .sandbox import PLAIN, ROOT, Running

_PR_SET_CHILD_SUBREAPER = 36
PROGRAMS = ("sandboxctl", "sandbox-warden", "sandbox-broker", "sandbox-agent")
_ADDRESSES = ["11.0.0.53/32", "11.0.0.80/32", "11.0.0.81/32", "11.0.0.82/32", "11.0.0.83/32",
              "11.0.0.84/32", "11.0.0.85/32", "10.0.0.80/32", "169.254.169.254/32",
              "2600:11::53/128", "2600:11::80/128", "2600:11::81/128"]


def _leave_the_host():
    """Namespaces of our own, before any thread exists."""
    try:
        netns.make(_ADDRESSES)
    except OSError as why:
        skip(f"no network namespace of our own: {why}")
    # Orphans of a sandbox become our children, so that none escapes the count.
    netns.libc("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class World:
    def __init__(self):
        if os.geteuid() != 0:
            skip("needs root, to make a network namespace")
        for program in ("ip", "nginx", "nsenter", "openssl", "setpriv"):
            if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
                skip(f"{program} is not installed")
        self.binaries = pathlib.Path(os.environ.get("SALLYPORT_BIN", ""))
        missing = [p for p in PROGRAMS if not (self.binaries / p).exists()]
        if missing:
            raise SystemExit(f"SALLYPORT_BIN={self.binaries}: no {', '.join(missing)}")
        _leave_the_host()
        os.umask(0o022)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-e2e-"))
        os.chmod(self.folder, 0o755)
        self._count = 0
        self._homes = {}
        self._closing = []
        self._audits = set()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        self._known_files = {folder: sandbox.files_below(folder) for folder in self.state_folders()}
        self._known_mounts = sandbox.mounts()
        self._known_processes = {pid for pid, _ in sandbox.descendants()}

    def _build(self):
        self.ca = Authority(self.folder / "pki")
        good = self.ca.issue("api", ["api.example.test", "git.example.test", "static.example.test",
                                     "pypi.org"])
        origin_names = [f"{n}.example.test" for n in
                        ("whoami", "other", "second", "third", "bot", "repo", "rebind")]
        whoami = self.ca.issue("whoami", origin_names)
        expired = self.ca.issue("expired", ["expired.example.test"], "20200101000000Z",
                                "20210101000000Z")
        wrong = self.ca.issue("wrong", ["somebody-else.example.test"])
        alone = self.ca.self_signed("alone", "selfsigned.example.test")

        self.dns = DnsServer("11.0.0.53")
        self._closing.append(self.dns)
        self.nginx = Nginx(self.folder / "nginx", [
            ("11.0.0.80", 80, None), ("11.0.0.80", 443, good), ("2600:11::80", 443, good),
            ("11.0.0.82", 443, alone), ("11.0.0.83", 443, expired), ("11.0.0.84", 443, wrong)])
        self._closing.append(self.nginx)
        self.origin = Origin([("11.0.0.81", 80), ("11.0.0.81", 443), ("11.0.0.81", 8443),
                              ("2600:11::81", 443)], whoami, (443, 8443))
        self._closing.append(self.origin)
        self.forbidden = Origin([("10.0.0.80", 8000), ("127.0.0.1", 8000), ("10.0.0.80", 80),
                                 ("127.0.0.1", 80), ("169.254.169.254", 80)])
        self._closing.append(self.forbidden)
        for name in ("api", "git", "static"):
            self.dns.zone[f"{name}.example.test"] = ["11.0.0.80"]
        self.dns.zone["pypi.org"] = ["11.0.0.80"]
        for name in origin_names:
            self.dns.zone[name] = ["11.0.0.81"]
        for name, address in (("selfsigned", 82), ("expired", 83), ("wrongname", 84),
                              ("nobody", 85)):
            self.dns.zone[f"{name}.example.test"] = [f"11.0.0.{address}"]

    def close(self):
        for part in reversed(self._closing):
            part.close()
        # Whatever a test mounted below must not be emptied with the folder.
        if not any(f" {self.folder}/" in mount for mount in sandbox.mounts()):
            shutil.rmtree(self.folder, ignore_errors=True)

    # Users

    def home(self, user):
        """The home of USER: a folder that is empty at first."""
        if user not in self._homes:
            home = self.folder / f"home-{user}"
            home.mkdir()
            os.chown(home, user, user)
            self._homes[user] = home
        return self._homes[user]

    def state_folders(self):
        homes = [self.home(user) for user in (ROOT, PLAIN)]
        return homes + [pathlib.Path("/var/lib/sallyport"), pathlib.Path("/run/sallyport")]

    def programs_for(self, user):
        """A folder with our programs that USER can reach; a copy where the build is private."""
        if user == ROOT or self._reachable(self.binaries):
            return self.binaries
        copy = self.folder / "bin"
        if not copy.exists():
            copy.mkdir()
            for program in PROGRAMS:
                shutil.copy2(self.binaries / program, copy / program)
        return copy

    @staticmethod
    def _reachable(folder):
        return all(p.stat().st_mode & stat.S_IXOTH for p in [folder, *folder.resolve().parents])

    def environment(self, user, more=None):
        home = str(self.home(user))
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME": home, "XDG_STATE_HOME": f"{home}/.local/state",
                       "XDG_DATA_HOME": f"{home}/.local/share", "XDG_RUNTIME_DIR": home,
                       "LANG": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        environment.update(more or {})
        return environment

    @staticmethod
    def as_user(user):
        """What a command of USER's on the host begins with."""
        if user == ROOT:
            return netns.in_host()
        return netns.in_host() + ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups",
                "--inh-caps=-all", "--"]

    # Sandboxes

    def folder_for(self, user):
        """A new folder that USER may write to."""
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        folder.mkdir()
        os.chown(folder, user, user)
        return folder

    def argv(self, command, policy=None, user=ROOT, options=(), audit=None):
        folder = self.folder_for(user)
        audit = pathlib.Path(audit or folder / "audit.jsonl")
        argv = self.as_user(user) + [str(self.programs_for(user) / "sandboxctl"), "run",
                                     "--resolver", "11.0.0.53", "--upstream-ca", str(self.ca.ca),
                                     "--audit", str(audit)]
        if policy is not None:
            file = folder / "policy.lua"
            file.write_text(policy)
            os.chmod(file, 0o644)
            argv += ["-f", str(file)]
        return argv + list(options) + ["--", *command], audit

    def start(self, command, policy=None, user=ROOT, options=(), env=None, cwd=None, audit=None,
              **popen):
        """Starts a sandbox; popen's streams are pipes unless it says otherwise."""
        argv, audit = self.argv(command, policy, user, options, audit)
        popen = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                 **popen}
        process = subprocess.Popen(argv, env=self.environment(user, env),
                                   cwd=cwd or self.home(user), **popen)
        self._audits.add(audit)
        return Running(argv, process, audit)

    def run(self, command, policy=None, user=ROOT, options=(), env=None, stdin=b"", timeout=60,
            **popen):
        """Runs COMMAND in a sandbox to its end. COMMAND is a list, or a line for sh."""
        if isinstance(command, str):
            command = ["sh", "-c", command]
        return self.start(command, policy, user, options, env, **popen).finish(stdin, timeout)

    def python(self, code, *arguments, **run):
        """Runs CODE with python3 in a sandbox."""
        return self.run(["python3", "-c", code, *map(str, arguments)], **run)

    def sandboxctl(self, *arguments, user=ROOT, env=None, cwd=None):
        """Runs another command of sandboxctl."""
        argv = self.as_user(user) + [str(self.programs_for(user) / "sandboxctl"), *arguments]
        process = subprocess.Popen(argv, env=self.environment(user, env), stdin=subprocess.DEVNULL,
                                   cwd=cwd or self.home(user),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # `doctor trust` tries every toolchain of the machine, which takes its time on a busy one.
        return Running(argv, process, self.folder / "none").finish(timeout=240)

    def audit_violations(self):
        """What the audit logs of all sandboxes so far break of docs/audit.schema.json."""
        return [what for path in sorted(self._audits) if path.is_file() for what in schema.audit_violations(path)]

    def leftovers(self):
        """Processes, mounts and files that the sandboxes so far left behind; waits for the late."""
        found = sandbox.leftovers(self._known_processes, self._known_mounts, self._known_files)
        self._reap()
        return found

    def nothing_left(self, when=""):
        """Fails when something is left; it is then ended, so that it is counted once."""
        left = self.leftovers()
        for pid, _ in sandbox.descendants():
            if pid not in self._known_processes:
                os.kill(pid, signal.SIGKILL)
        assert left == [], f"left behind {when}: {left}"

    def _reap(self):
        for pid, (parent, state, _) in sandbox._processes().items():
            if parent == os.getpid() and state == "Z" and pid not in self._known_processes:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass
