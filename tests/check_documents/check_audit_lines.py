#!/usr/bin/env python3
"""Holds lines of every kind that the audit log can have to docs/audit.schema.json: each reason with each
transport and verdict, filled to their bounds and bare, counts, the policy's messages, what was suppressed.

    check_audit_lines.py ROOT AUDIT_RECORDS_TEST

Prints what is wrong and exits with 1 if anything is. The lines of real sandboxes are held to it by
tests/e2e/harness.
"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e/harness"))
from schema import violations  # noqa: E402


def lines_of(program):
    run = subprocess.run([program, "[.lines]"], capture_output=True, timeout=60, check=True)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith(b"{")]


def missing(lines, schema):
    """What of SCHEMA no line shows: then they are not of every kind."""
    said = {key for line in lines for key in line}
    wanted = [(key, None) for key in schema["properties"] if key not in said]
    for key in ("transport", "direction", "verdict", "reason", "level"):
        seen = {line.get(key) for line in lines}
        wanted += [(key, value) for value in schema["properties"][key]["enum"] if value not in seen]
    return [f"no line has {key} {value or ''}" for key, value in wanted]


def main(root, program):
    schema = json.loads((pathlib.Path(root) / "docs/audit.schema.json").read_text())
    lines = lines_of(program)
    wrong = missing(lines, schema)
    for line in lines:
        wrong += violations(line, schema)
    print("\n".join(wrong[:20]) or f"all {len(lines)} lines are as the schema says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
