"""Runs sandboxctl and looks at what it did."""

import json
import os
import pathlib
import subprocess
import time

from .runner import patience

ROOT = 0
PLAIN = 54321  # A user without a name, a group or a home of its own: as plain as they come.


def poll(condition, seconds=5.0):
    """Waits until CONDITION() is true (returned), at most SECONDS; then its last value."""
    deadline = time.monotonic() + patience(seconds)
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.02)


class Result:
    """What one run of sandboxctl came to."""

    def __init__(self, argv, code, out, err, seconds, audit_path):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.seconds, self.audit_path = seconds, pathlib.Path(audit_path)

    @property
    def text(self):
        return self.out.decode("utf-8", "replace")

    @property
    def errors(self):
        return self.err.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.out)

    @property
    def audit(self):
        """The audit log's records."""
        if not self.audit_path.is_file():
            return []
        return [json.loads(line) for line in self.audit_path.read_text().splitlines()]

    def told(self, **fields):
        """The first audit record with these FIELDS; fails the test when none comes."""
        def match():
            return next((r for r in self.audit
                         if all(r.get(k) == v for k, v in fields.items())), None)
        found = poll(match)
        assert found, f"no audit record with {fields}\n{self}"
        return found

    def expect(self, code=0):
        assert self.code == code, f"exit code {self.code}, not {code}\n{self}"
        return self

    def __repr__(self):
        def shorten(data):
            text = data.decode("utf-8", "replace")
            return text if len(text) < 4000 else text[:2000] + "\n[…]\n" + text[-2000:]
        audit = self.audit_path.read_text()[-4000:] if self.audit_path.is_file() else ""
        return (f"$ {' '.join(self.argv)}\n[exit {self.code} after {self.seconds:.2f} s]\n"
                f"--- stdout\n{shorten(self.out)}\n--- stderr\n{shorten(self.err)}\n"
                f"--- audit\n{audit}")


class Running:
    """A sandbox under way."""

    def __init__(self, argv, process, audit_path):
        self.argv, self.process, self.audit_path = argv, process, audit_path
        self._began = time.monotonic()

    @property
    def pid(self):
        return self.process.pid

    def finish(self, stdin=None, timeout=60):
        try:
            out, err = self.process.communicate(stdin, timeout=patience(timeout))
        except subprocess.TimeoutExpired:
            # A hang is a failure like another; what came out so far helps to see why.
            self.process.kill()
            out, err = self.process.communicate(timeout=patience(timeout))
            err += f"\n[the test gave up after {timeout} s]\n".encode()
        seconds = time.monotonic() - self._began
        return Result(self.argv, self.process.returncode, out or b"", err or b"", seconds,
                      self.audit_path)


def _processes():
    """pid -> (parent, state, name) of every process that can be seen."""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        name = stat[stat.index("(") + 1:stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2:].split()[:2]
        table[int(entry)] = (int(parent), state, name)
    return table


def descendants(of=None):
    """[(pid, name)] of the live processes below OF (this process), eldest first."""
    table = _processes()
    found, frontier = [], [of or os.getpid()]
    while frontier:
        frontier = [p for p, (parent, _, _) in sorted(table.items()) if parent in frontier]
        found += frontier
    return [(p, table[p][2]) for p in found if table[p][1] not in "ZX"]


def mounts():
    return set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def leftovers(before_processes, before_mounts, folders):
    """What is there that was not: processes below this one, mounts, files in FOLDERS."""
    def look():
        found = [f"process {pid} {name}" for pid, name in descendants()
                 if pid not in before_processes]
        found += [f"mount {line}" for line in mounts() - before_mounts]
        for folder, known in folders.items():
            found += [f"file {path}" for path in files_below(folder) - known]
        return found
    poll(lambda: not look(), 10)
    return look()


def files_below(folder):
    return {str(path) for path in pathlib.Path(folder).rglob("*")} if folder.exists() else set()
