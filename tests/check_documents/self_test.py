#!/usr/bin/env python3
"""The checks of this folder refuse documents that differ from the program.

    self_test.py ROOT SANDBOXCTL
"""

import pathlib
import shutil
import sys
import tempfile

import check_commands
import check_editor
import check_snippets
from check_documents import check

FILES = ["base/reason.cc", "base/reason.h", "docs/reason-codes.md", "docs/audit.md", "docs/audit.schema.json"]
# What is changed in which file, and what is then said.
CASES = [
    ("docs/reason-codes.md", "| `not_http` |", "| `not_htpp` |", "'not_http' is missing"),
    ("docs/audit.schema.json", '"not_http"', '"not_granted"', "'not_granted' stands twice"),
    ("docs/audit.md", "| `repeat` |", "| `repeats` |", "'repeat' is missing"),
    ("base/reason.cc", 'return "not_http";', 'return "nothttp";', "'nothttp' is missing"),
    ("base/reason.h", "  kNotHttp,", "  kNotHttp,\n  kAnother,", "codes for"),
]

source = pathlib.Path(sys.argv[1])
failed = 0
for file, old, new, said in CASES:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in FILES:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(source / name, root / name)
        text = (root / file).read_text()
        assert old in text, (file, old)
        (root / file).write_text(text.replace(old, new, 1))
        mistakes = check(root)
        if not any(said in mistake for mistake in mistakes):
            print(f"{file} with {new!r}: {mistakes}, not {said!r}")
            failed += 1
# The same for the editor's definitions: what is changed in them, and what is then said.
EDITOR_CASES = [
    ("---@field hosts ", "---@field host ", "SecretFields: 'hosts' is missing"),
    ("function use(", "function uses(", "'uses' is not known"),
    ("---A file, without its last newline.\n", "", "no doc line before: function file"),
    ("---@class sallyport.Match", "---@class sallyport.Matches", "'Matches' is not known"),
]
for old, new, said in EDITOR_CASES:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        shutil.copytree(source / "policy", root / "policy")
        (root / "editors").mkdir()
        text = (source / "editors/sallyport.lua").read_text()
        assert old in text, old
        (root / "editors/sallyport.lua").write_text(text.replace(old, new, 1))
        mistakes = check_editor.check(root)
        if not any(said in mistake for mistake in mistakes):
            print(f"editors/sallyport.lua with {new!r}: {mistakes}, not {said!r}")
            failed += 1
# Command lines, and what is said of them.
COMMAND_CASES = [
    ("sandboxctl policy chek policy.lua", "no command 'policy chek'"),
    ("sandboxctl run --polcy policy.lua -- ls --no-such", "'run' has no option --polcy"),
    ("sandboxctl flows -x", "'flows' has no option -x"),
    ("sandboxctl run -f policy.lua -- curl -sS --compressed https://a.example/", ""),
]
for line, said in COMMAND_CASES:
    mistake = check_commands.complaint(sys.argv[2], line)
    if mistake != said:
        print(f"{line}: {mistake!r}, not {said!r}")
        failed += 1
# Snippets, and a word of what is said of them.
SNIPPET_CASES = [
    ('allow.http { hots = "a.example" }\n', "hots"),
    ('policy "policy.lua"\ntest("x", function() expect(dns "a.example"):resolves() end)\n', "snippet_test.lua:2"),
    ('policy "policy.lua"\ntest("x", function() expect(dns "a.example"):refused() end)\n', ""),
]
for text, said in SNIPPET_CASES:
    with tempfile.TemporaryDirectory() as folder:
        mistake = check_snippets.complaint(sys.argv[2], text, pathlib.Path(folder))
        if said not in mistake or bool(said) != bool(mistake):
            print(f"{text!r}: {mistake!r}, not {said!r}")
            failed += 1
sys.exit(1 if failed else 0)
