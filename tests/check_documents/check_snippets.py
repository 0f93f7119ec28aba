#!/usr/bin/env python3
"""Runs each Lua block of the documents through `sandboxctl policy check`: a policy that stands in a
document loads, without a warning.

    check_snippets.py ROOT SANDBOXCTL

A block that begins with `policy "FILE"` is a test file of `sandboxctl policy test`: it is to load up
to the policy that it names, which is not there. Prints what is wrong and exits with 1 if anything is.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

NOT_OURS = {"build", ".cache", "corpus"}


def blocks(root):
    """(document, line, text) of each block."""
    for document in sorted(root.rglob("*.md")):
        if NOT_OURS & set(document.relative_to(root).parts):
            continue
        text = document.read_text()
        for block in re.finditer(r"^```lua\n(.*?)^```", text, re.M | re.S):
            line = text.count("\n", 0, block.start()) + 1
            yield document.relative_to(root), line, block.group(1)


def complaint(sandboxctl, text, folder):
    """What the program says against TEXT; nothing if it takes it."""
    is_test = text.startswith("policy ")
    file = folder / ("snippet_test.lua" if is_test else "policy.lua")
    file.write_text(text)
    command = [sandboxctl, "policy", "test" if is_test else "check", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = run.stdout + run.stderr
    if is_test:
        return "" if "policy.lua" in said and "No such file" in said else said or "nothing was said"
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
