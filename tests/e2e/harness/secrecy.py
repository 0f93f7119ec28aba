"""Looks for a secret's value where a guest could have come by it."""

import base64
import urllib.parse

# Reads what a guest may read and looks for the value. It gets the value disguised, so that it is
# not the one who brings it in.
SEARCH = r"""
import os, sys
needles = [bytes.fromhex(h) for h in sys.argv[1].split(",")]
needles = [bytes(b ^ 0x55 for b in n) for n in needles]
found, read = [], 0
def look(path, text):
    global read
    read += len(text)
    if any(n in text for n in needles):
        found.append(path)
for name, value in os.environb.items():
    look("variable " + name.decode(), value)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for what in ("environ", "cmdline", "status", "maps", "mountinfo"):
        try:
            look(f"/proc/{pid}/{what}", open(f"/proc/{pid}/{what}", "rb").read())
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
                    look(path, open(path, "rb").read())
            except OSError:
                pass
print(read, found)
"""


def spellings(value):
    raw = value.encode()
    return [raw, base64.b64encode(raw), urllib.parse.quote(value, safe="").encode(), raw[::-1],
            raw.hex().encode()]


def disguise(value):
    return ",".join(bytes(b ^ 0x55 for b in spelled).hex() for spelled in spellings(value)[:3])


def searching(line, value):
    """A command that runs LINE in sh, prints nothing of it, and then what SEARCH found of VALUE."""
    return ["sh", "-c", line + '\nexec /usr/bin/python3 -c "$0" "$1"', SEARCH, disguise(value)]


def unseen(got, *values):
    """Fails when a run's output or audit log shows one of VALUES."""
    everything = got.out + got.err
    if got.audit_path.is_file():
        everything += got.audit_path.read_bytes()
    for value in values:
        for spelled in spellings(value):
            assert spelled not in everything, got


def found_nothing(got, *values):
    """The lines before what SEARCH printed last; fails when it, or the output, shows one of VALUES."""
    unseen(got, *values)
    *before, last = got.text.splitlines()
    read, _, found = last.partition(" ")
    assert found == "[]", got
    assert int(read) > 100_000, f"the search read only {read} bytes"
    return before
