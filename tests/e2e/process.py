#!/usr/bin/env python3
"""The sandbox as a process: exit codes, streams, signals, a terminal, folders, and its end."""

import fcntl
import hashlib
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from harness import PLAIN, ROOT, World, main, patience, test
from harness.sandbox import descendants, poll

MIB = 1 << 20


@test("the command's exit code is sandboxctl's")
def _(world):
    for code in (0, 1, 7, 42, 123, 255):
        world.run(f"exit {code}").expect(code)


@test("a command that is not there is 127, one that can't run is 126")
def _(world):
    got = world.run(["no-such-command"]).expect(127)
    assert "no-such-command" in got.errors, got
    world.run(["/no/such/path"]).expect(127)
    world.run(["/etc/passwd"]).expect(126)
    world.run(["/usr"]).expect(126)


@test("a command that a signal ended is 128 and its number")
def _(world):
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        world.run(["python3", "-c", f"import os; os.kill(os.getpid(), {int(number)})"]
                  ).expect(128 + number)


@test("time that is over is 124")
def _(world):
    got = world.run(["sleep", "100"], options=["--timeout", "500ms"]).expect(124)
    assert got.seconds < patience(5), got
    world.nothing_left()
    world.run(["true"], options=["--timeout", "1m"]).expect(0)


@test("what fails before the program runs is 125, with a message")
def _(world):
    for options in (["--timeout", "soon"], ["--resolver", "nonsense"], ["-v", "/no/such:/x"],
                    ["-v", "/tmp"], ["-e", "=x"], ["--secret", "X"], ["--no-such-option"],
                    ["--upstream-ca", "/no/such.pem"], ["-f", "/no/such.lua"],
                    ["--backend", "vm"]):
        got = world.run("echo started", options=options)
        assert got.code == 125 and got.err and "started" not in got.text, got


@test("a command that does not exist is named")
def _(world):
    for words in (["bogus"], ["policy", "bogus"]):
        got = world.sandboxctl(*words)
        assert got.code == 125 and "there is no command 'bogus'" in got.errors, got
    assert "no command" not in world.sandboxctl("policy").errors


@test("doctor agrees with what a sandbox then uses")
def _(world):
    for user in (ROOT, PLAIN):
        doctor = subprocess.run(
            world.as_user(user) + [str(world.programs_for(user) / "sandboxctl"), "doctor"],
            env=world.environment(user), cwd="/", capture_output=True, text=True, check=False)
        assert doctor.returncode == 0, doctor
        tap = any(line.startswith("ok") and "tun node" in line for line in doctor.stdout.splitlines())
        got = world.run("true", user=user, options=["--verbose"]).expect(0)
        assert ("link tap" if tap else "link packet") in got.errors, (doctor.stdout, got)


@test("standard output and error stay apart and are not changed")
def _(world):
    got = world.run("printf 'out\\n\\000\\377'; printf 'err\\n' >&2").expect(0)
    assert got.out == b"out\n\0\xff" and got.err == b"err\n", got


@test("10 MiB go in and come out unchanged")
def _(world):
    data = os.urandom(10 * MIB)
    got = world.run(["cat"], stdin=data, timeout=120).expect(0)
    assert hashlib.sha256(got.out).digest() == hashlib.sha256(data).digest()
    got = world.run("cat >&2", stdin=data, timeout=120).expect(0)
    assert hashlib.sha256(got.err).digest() == hashlib.sha256(data).digest()


@test("standard input may be a file, /dev/null or closed")
def _(world):
    file = world.folder / "input"
    file.write_bytes(b"from a file\n" * 1000)
    for user in (ROOT, PLAIN):
        with open(file, "rb") as stream:
            got = world.start(["wc", "-l"], user=user, stdin=stream).finish()
        assert got.expect(0).text.strip() == "1000", got
        got = world.start(["wc", "-c"], user=user, stdin=subprocess.DEVNULL).finish()
        assert got.expect(0).text.strip() == "0", got


@test("a program that ends early does not wait for its input")
def _(world):
    running = world.start(["true"])
    assert running.process.wait(timeout=patience(10)) == 0
    running.finish()


@test("a reader that goes away does not hang the sandbox")
def _(world):
    running = world.start(["sh", "-c", "yes | head -c 100000000; echo done >&2"])
    running.process.stdout.read(1000)
    running.process.stdout.close()
    code = running.process.wait(timeout=patience(30))
    running.process.stderr.close()
    running.process.stdin.close()
    assert code is not None


@test("arguments arrive as they are: never joined, never split")
def _(world):
    arguments = ["", " ", "a b", "line\nbreak", "'", '"', "$HOME", "*", "\\", "--", "-x", "ü",
                 "tab\there", "`id`", "$(id)", "a" * 50000]
    got = world.run(["python3", "-c", "import sys; sys.stdout.write(repr(sys.argv[1:]))", *arguments])
    assert got.expect(0).text == repr(arguments), got


@test("-e sets a variable, or passes one on; nothing else of the caller's comes in")
def _(world):
    got = world.run("env", options=["-e", "ONE=1 = one", "-e", "PASSED"],
                    env={"PASSED": "on", "PRIVATE": "no", "LD_PRELOAD": "", "AWS_SECRET": "no"})
    lines = got.expect(0).text.splitlines()
    assert "ONE=1 = one" in lines and "PASSED=on" in lines, got
    assert not [line for line in lines if line.startswith(("PRIVATE", "AWS_SECRET", "LD_PRELOAD"))]
    assert str(world.folder) not in got.text, got


@test("-w chooses the folder, --hostname the name")
def _(world):
    got = world.run("pwd; hostname", options=["-w", "/usr/bin", "--hostname", "box"]).expect(0)
    assert got.text.split() == ["/usr/bin", "box"], got


@test("-v shows a folder, to read or to write")
def _(world):
    for user in (ROOT, PLAIN):
        folder = world.folder_for(user)
        (folder / "seen").write_text("seen\n")
        got = world.run("cat /data/seen && echo new >/data/new && ls /data", user=user,
                        options=["-v", f"{folder}:/data"]).expect(0)
        assert got.text.split() == ["seen", "new", "seen"], got
        assert (folder / "new").read_text() == "new\n"
        assert (folder / "new").stat().st_uid == user
        got = world.run("cat /data/seen; echo no >/data/no", user=user,
                        options=["-v", f"{folder}:/data:ro"])
        assert got.code != 0 and got.text == "seen\n" and "Read-only" in got.errors, got
        assert not (folder / "no").exists()


@test("what the program writes elsewhere is gone with it")
def _(world):
    marker = f"sallyport-marker-{os.getpid()}"
    world.run(f"for d in /tmp /root /home /run /var/tmp /etc /usr /usr/local/bin; do "
              f"echo x >$d/{marker} 2>/dev/null; done; true").expect(0)
    for folder in ("/tmp", "/root", "/home", "/run", "/var/tmp", "/etc", "/usr", "/usr/local/bin"):
        assert not (pathlib.Path(folder) / marker).exists(), folder
    world.run(f"! ls /tmp/{marker} /root/{marker}").expect(0)


@test("the host's own files are not inside")
def _(world):
    private = world.folder_for(ROOT) / "private"
    private.write_text("private\n")
    # Where a browser's library is, the agent makes the database of what it trusts.
    got = world.run(f"cat {private} /etc/shadow; find /root /home /tmp /srv /mnt /media -type f "
                    "! -path '/root/.pki/nssdb/*'")
    assert got.text == "", got
    got = world.run("cat /etc/shadow /etc/ssh/*key /etc/sudoers", user=PLAIN)
    assert got.text == "", got


@test("the sandbox has its own processes, name, and only lo and eth0")
def _(world):
    got = world.run("ls /proc | grep -c '^[0-9]'; hostname; ls /sys/class/net | tr '\\n' ' '; "
                    "cat /proc/net/dev | cut -d: -f1 | tail -n +3 | tr -d ' ' | sort | tr '\\n' ' '")
    lines = got.expect(0).text.splitlines()
    assert int(lines[0]) < 10 and lines[1] == "sandbox", got
    assert "eth0 lo" in got.text, got


@test("--no-network has no way out")
def _(world):
    got = world.run("curl -sS -m 5 https://api.example.test/ ; echo $?; "
                    "grep -c eth0 /proc/net/dev", options=["--no-network"],
                    policy='allow.http { host = "api.example.test" }')
    assert got.text.split()[0] in ("6", "7"), got
    assert got.text.split()[-1] == "0", got
    assert got.seconds < patience(5), got


@test("SIGTERM and one interrupt reach the program")
def _(world):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        running = world.start(["sh", "-c", f"trap 'echo caught; exit 9' {int(number)}; echo ready; "
                                           "while :; do sleep 0.1; done"])
        assert running.process.stdout.readline() == b"ready\n", running.finish()
        running.process.send_signal(number)
        got = running.finish(timeout=20).expect(9)
        assert got.text == "caught\n", got


@test("a second interrupt ends a sandbox whose program does not listen")
def _(world):
    running = world.start(["sh", "-c", "trap '' INT TERM; echo ready; sleep 1000"])
    assert running.process.stdout.readline() == b"ready\n", running.finish()
    running.process.send_signal(signal.SIGINT)
    poll(lambda: running.process.poll() is not None, 0.3)
    assert running.process.poll() is None, "one interrupt ended it"
    running.process.send_signal(signal.SIGINT)
    running.finish(timeout=20).expect(130)
    world.nothing_left()


class Terminal:
    """sandboxctl run -t on a pseudo terminal."""

    def __init__(self, world, command, rows=31, columns=101, user=ROOT):
        argv, _ = world.argv(command, None, user, ["-t"])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                self.fd = 0
                self.resize(rows, columns)
                os.execvpe(argv[0], argv, world.environment(user, {"TERM": "xterm-256color"}))
            finally:
                os._exit(99)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def write(self, data):
        os.write(self.fd, data)

    def until(self, wanted, seconds=15):
        deadline = time.monotonic() + patience(seconds)
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {wanted!r} in {self.seen!r}")
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                piece = b""
            if not piece:
                raise AssertionError(f"ended without {wanted!r}: {self.seen!r}")
            self.seen += piece
        before, _, self.seen = self.seen.partition(wanted)
        return before

    def end(self):
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


# A program on a terminal: tells its name, its size, and each change of it.
SIZES = """
import os, signal, sys
def size(): return "%d %d" % (os.get_terminal_size().lines, os.get_terminal_size().columns)
signal.signal(signal.SIGWINCH, lambda *_: print("resized", size()))
print(os.ttyname(0), os.environ["TERM"], size(), "ready")
for line in sys.stdin:
    print("had", line.strip())
sys.exit(5)
"""


@test("-t gives the program a terminal of the caller's size, which follows it")
def _(world):
    for user in (ROOT, PLAIN):
        terminal = Terminal(world, ["python3", "-u", "-c", SIZES], user=user)
        start = terminal.until(b"ready\r\n")
        assert b"/dev/pts/" in start and b"xterm-256color" in start and b"31 101" in start, start
        terminal.resize(20, 60)
        terminal.until(b"resized 20 60\r\n")
        terminal.write(b"hello\n")
        terminal.until(b"had hello")
        terminal.write(b"\x04")
        assert terminal.end() == 5


@test("keys of a terminal reach the program: ^C interrupts it, not sandboxctl")
def _(world):
    terminal = Terminal(world, ["sh", "-c", "stty -echo; trap 'echo interrupted' INT; echo ready; "
                                "while :; do read a && break; done; echo bye; exit 3"])
    terminal.until(b"ready\r\n")
    terminal.write(b"\x03")
    terminal.until(b"interrupted")
    terminal.write(b"go\n")
    terminal.until(b"bye")
    assert terminal.end() == 3


@test("a shell on a terminal has job control and colours")
def _(world):
    terminal = Terminal(world, ["bash", "--norc", "--noprofile", "-i"])
    terminal.write(b"PS1='$ '; sleep 100 & jobs; ls --color=auto -d /usr; echo d''one\n")
    seen = terminal.until(b"done\r\n")
    assert b"Running" in seen, seen
    assert b"\x1b[" in seen, seen
    assert b"no job control" not in seen, seen
    terminal.write(b"kill %1; exit 4\n")
    assert terminal.end() == 4


@test("nothing is left after a sandbox of many processes")
def _(world):
    world.run("for i in 1 2 3; do (setsid sleep 1000 &) ; done; sleep 1000 & exit 0").expect(0)
    world.nothing_left()


OURS = {"sandboxctl", "sandbox-warden", "sandbox-broker", "sandbox-agent", "python3"}
# A program with a child in a session of its own, which holds none of the program's streams.
STAY = """
import subprocess, time
null = subprocess.DEVNULL
subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=null, stdout=null, stderr=null)
print("ready")
time.sleep(1000)
"""


@test("any of its processes may be killed, and the rest goes with it")
def _(world):
    policy = """
allow.http { host = "api.example.test" }
secret "TOKEN" { from = env "TOKEN", hosts = { "api.example.test" } }
"""
    for user in (ROOT, PLAIN):
        victim = 0
        while True:
            before = {pid for pid, _ in descendants()}
            running = world.start(["python3", "-uc", STAY],
                                  policy=policy, user=user, env={"TOKEN": "0123456789abcdef"})
            assert running.process.stdout.readline() == b"ready\n", running.finish()
            family = [(p, n) for p, n in descendants() if p not in before and n in OURS]
            if victim >= len(family):
                running.process.send_signal(signal.SIGKILL)
                running.finish()
                break
            pid, name = family[victim]
            os.kill(pid, signal.SIGKILL)
            got = running.finish(timeout=20)
            assert got.code != 0, (name, got)
            assert got.seconds < patience(10), (name, got)
            world.nothing_left(f"after {name} was killed")
            victim += 1
        names = [name for _, name in family]
        assert set(names) == OURS, names


@test("a caller's open descriptors are not inside")
def _(world):
    secret = world.folder / "open"
    secret.write_text("open secret\n")
    with open(secret, "rb") as stream:
        got = world.run("ls -l /proc/self/fd; cat <&9", pass_fds=(stream.fileno(),))
    assert "open" not in got.text.replace("openat", ""), got


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
