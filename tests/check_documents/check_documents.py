#!/usr/bin/env python3
"""Holds documents to the program: each reason code has its row and its place in the schema of the
audit log, and the keys of that schema are those that docs/audit.md explains.

    check_documents.py ROOT

Prints what is missing, or too much, and exits with 1 if there is anything.
"""

import json
import pathlib
import re
import sys


def codes_of_program(root):
    """What ToString(Reason) returns; behind the switch stands the word for none."""
    text = (root / "base/reason.cc").read_text()
    return re.findall(r'case Reason::\w+:\s*return "(\w+)";', text)


def enumerators(root):
    text = (root / "base/reason.h").read_text()
    body = text[text.index("enum class Reason {"):]
    return re.findall(r"^\s*k\w+,", body[:body.index("};")], re.M)


def rows(path, heading):
    """The words of the first column of the table whose first heading is HEADING."""
    text = path.read_text()
    table = text[text.index(f"| {heading} |"):].split("\n\n")[0]
    return re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:]))


def differences(what, expected, found):
    wrong = [f"{what}: '{word}' is missing" for word in expected if word not in found]
    wrong += [f"{what}: '{word}' is not known" for word in found if word not in expected]
    wrong += [f"{what}: '{word}' stands twice" for word in sorted(set(found)) if found.count(word) > 1]
    return wrong


def check(root):
    codes = codes_of_program(root)
    schema = json.loads((root / "docs/audit.schema.json").read_text())
    wrong = []
    if len(codes) != len(enumerators(root)):
        wrong.append(f"base/reason.cc: {len(codes)} codes for {len(enumerators(root))} reasons")
    wrong += differences("docs/reason-codes.md", codes, rows(root / "docs/reason-codes.md", "code"))
    wrong += differences("docs/audit.schema.json, reason", codes, schema["properties"]["reason"]["enum"])
    wrong += differences("docs/audit.md", list(schema["properties"]), rows(root / "docs/audit.md", "key"))
    return wrong


if __name__ == "__main__":
    mistakes = check(pathlib.Path(sys.argv[1]))
    print("\n".join(mistakes) or "the documents say what the program does")
    sys.exit(1 if mistakes else 0)
