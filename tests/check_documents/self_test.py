#!/usr/bin/env python3
"""check_documents.py refuses trees in which a document and the program differ."""

import pathlib
import shutil
import sys
import tempfile

import check_editor
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
sys.exit(1 if failed else 0)
