#!/usr/bin/env python3
"""Holds the command lines of the documents to the program: each `sandboxctl` line names a command
and options that there are, and a transcript (`$ sandboxctl policy …`, then what it prints) is what
the program prints.

    check_commands.py ROOT SANDBOXCTL

Prints what is wrong and exits with 1 if anything is.
"""

import functools
import pathlib
import re
import subprocess
import sys
import tempfile

from check_snippets import documents

# The file that transcripts call policy.lua.
POLICY_OF_TRANSCRIPTS = 'use "npm"\n'


@functools.lru_cache(maxsize=None)
def help_of(sandboxctl, *command):
    """(subcommands, options) of COMMAND, as its --help lists them; nothing if there is none."""
    run = subprocess.run([sandboxctl, *command, "--help"], capture_output=True, text=True, timeout=60)
    if run.returncode:
        return None
    _, _, below = run.stdout.partition("\nSubcommands:\n")
    subcommands = re.findall(r"^  ([a-z]+)  ", below.split("\n\n")[0], re.M)
    options = re.findall(r"^  ((?:-\w,)?--?[\w-]+)", run.stdout, re.M)
    return subcommands, {name for option in options for name in option.split(",")}


def complaint(sandboxctl, line):
    """What is wrong with the command line LINE, which begins with `sandboxctl`."""
    own = re.split(r" -- | --$|[|#>…]|  ", line)[0]  # Behind these it is not sandboxctl's.
    words = own.split()[1:]
    command = []
    while words and re.fullmatch(r"[a-z]+", words[0]):
        known = help_of(sandboxctl, *command)[0]
        if not known:
            break
        if words[0] not in known:
            return f"no command '{' '.join(command + words[:1])}'"
        command.append(words.pop(0))
    options = help_of(sandboxctl, *command)[1] | {"--help"}
    for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", " ".join(words)):
        if option not in options:
            return f"'{' '.join(command)}' has no option {option}"
    return ""


def command_lines(text):
    """(line number, command line) of each in the document TEXT: in blocks, and in `…`."""
    for number, line in enumerate(text.split("\n"), 1):
        if found := re.match(r"    .*?(?<!\S)(sandboxctl .*)", line):
            yield number, found.group(1)
        for found in re.finditer(r"`(sandboxctl [^`]+)`", line):
            yield number, found.group(1)


def transcripts(text):
    """(line number, arguments, what is printed) of each transcript in the document TEXT."""
    for found in re.finditer(r"^    \$ sandboxctl (.*)\n((?:    .*\n)+)", text, re.M):
        printed = re.sub(r"^    ", "", found.group(2), flags=re.M)
        yield text.count("\n", 0, found.start()) + 1, found.group(1).split(), printed


def printed_by(sandboxctl, arguments):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "policy.lua").write_text(POLICY_OF_TRANSCRIPTS)
        run = subprocess.run([sandboxctl, *arguments], capture_output=True, text=True, timeout=60, cwd=folder)
        return run.stdout + run.stderr


def check(sandboxctl, root):
    wrong, commands, talks = [], 0, 0
    for document in documents(root):
        text = document.read_text()
        where = document.relative_to(root)
        for number, line in command_lines(text):
            commands += 1
            if said := complaint(sandboxctl, line):
                wrong.append(f"{where}:{number}: {said}: {line}")
        for number, arguments, printed in transcripts(text):
            talks += 1
            if (said := printed_by(sandboxctl, arguments)) != printed:
                wrong.append(f"{where}:{number}: prints\n{said}")
    if commands < 50 or not talks:
        wrong.append(f"only {commands} command lines and {talks} transcripts were found")
    return wrong


if __name__ == "__main__":
    mistakes = check(sys.argv[2], pathlib.Path(sys.argv[1]))
    print("\n".join(mistakes) or "the command lines of the documents are the program's")
    sys.exit(1 if mistakes else 0)
