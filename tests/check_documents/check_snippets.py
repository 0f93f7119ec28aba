#!/usr/bin/env python3
"""Runs each Lua block of the documents: a policy through `sandboxctl policy check`, which is to have
nothing to say, and a file of tests (it begins with `policy "policy.lua"`) through `sandboxctl policy
test`, about the policy below.

    check_snippets.py ROOT SANDBOXCTL

Prints what is wrong and exits with 1 if anything is.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

NOT_OURS = {"build", ".cache", "corpus"}
# What the documents' tests speak of; the rule stands where they say, at line 12.
POLICY_OF_TESTS = "\n" * 10 + """allow.tcp { host = "db.internal", port = 5432, resolves_to = "10.20.0.0/16" }
allow.http { host = "api.github.com", method = { "GET", "HEAD" }, otherwise = "this agent only reads" }
"""


def documents(root):
    return [document for document in sorted(root.rglob("*.md"))
            if not NOT_OURS & set(document.relative_to(root).parts)]


def blocks(root):
    """(document, line, text) of each block."""
    for document in documents(root):
        text = document.read_text()
        for block in re.finditer(r"^```lua\n(.*?)^```", text, re.M | re.S):
            line = text.count("\n", 0, block.start()) + 1
            yield document.relative_to(root), line, block.group(1)


def complaint(sandboxctl, text, folder):
    """What the program says against TEXT; nothing if it takes it."""
    is_test = text.startswith("policy ")
    (folder / "policy.lua").write_text(POLICY_OF_TESTS)
    file = folder / ("snippet_test.lua" if is_test else "policy.lua")
    file.write_text(text)
    command = [sandboxctl, "policy", "test" if is_test else "check", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = run.stdout + run.stderr
    return said if run.returncode or "warning" in said else ""


def main(root, sandboxctl):
    wrong, count = [], 0
    for document, line, text in blocks(pathlib.Path(root)):
        count += 1
        with tempfile.TemporaryDirectory() as folder:
            if said := complaint(sandboxctl, text, pathlib.Path(folder)):
                wrong.append(f"{document}:{line}: {said.strip()}")
    if count < 5:
        wrong.append(f"only {count} Lua blocks were found in the documents")
    print("\n".join(wrong) or f"all {count} Lua blocks of the documents load")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
