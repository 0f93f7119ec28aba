#!/usr/bin/env python3
"""Holds the source tree to its layout: who may include whom, which folder talks
to which C library, and that one place alone connects to the outside.

    check_includes.py ROOT

Prints "file:line: what is wrong, and what to do" for each violation and exits
with 1 if there is any.
"""

import os
import re
import sys

# What each folder may include, besides itself; bottom to top, arrows go up only.
# A new folder is added here, with as little as it needs.
PROTOCOL = "guest/protocol"
LAYERS = {
    "base": [],
    "netstack": ["base"],
    "policy": ["base"],
    "secrets": ["base"],
    "mitm": ["base", "policy", "secrets"],
    "guest": ["base"],
    "runtime/seccomp": ["base"],
    "runtime/backend": ["base", "runtime/seccomp", PROTOCOL],
    "runtime/image": ["base"],
    "runtime/confine": ["base", "runtime/seccomp"],
    "runtime/dial": ["base", "policy", "secrets"],
    "runtime/broker": ["base", "secrets", "mitm", "runtime/confine", "runtime/dial", PROTOCOL],
    "runtime/warden": ["base", "netstack", "policy", "secrets", "mitm", "runtime/seccomp", "runtime/backend",
                       "runtime/image", "runtime/confine", "runtime/dial", "runtime/broker", PROTOCOL, "guest/relay"],
    "runtime/api": ["base", "netstack", "policy", "secrets", "mitm", "runtime/seccomp", "runtime/backend",
                    "runtime/image", "runtime/confine", "runtime/dial", "runtime/broker", "runtime/warden", PROTOCOL],
    "runtime/cli": ["base", "runtime/api"],
}

# Each C library has one adapter area; nothing else includes its headers.
LIBRARIES = [
    ("lwIP", r"(lwip|netif)/", ["netstack"]),
    ("BoringSSL", r"openssl/", ["mitm", "runtime/broker", "guest/agent"]),
    ("llhttp", r"(llhttp/)?llhttp\.h$", ["mitm"]),
    ("nghttp2", r"nghttp2/", ["mitm"]),
    ("zlib", r"zlib\.h$", ["mitm"]),
    ("brotli", r"brotli/", ["mitm"]),
    ("zstd", r"zstd(_errors)?\.h$", ["mitm"]),
    ("Lua", r"(lua5\.4/)?(lua|lualib|lauxlib|luaconf)\.h(pp)?$", ["policy", "cmake/lua"]),
    ("c-ares", r"ares(_\w+)?\.h$", ["runtime/dial"]),
    ("curl", r"curl/", ["runtime/broker", "runtime/image"]),
    ("libseccomp", r"seccomp\.h$", ["runtime/seccomp", "runtime/confine", "runtime/backend", "cmake"]),
    ("CLI11", r"CLI/", ["runtime/cli"]),
]

# Where the guarded dialler is the only one to call connect(): all that runs in the warden and in the broker.
ONE_CONNECT = ["base", "netstack", "policy", "secrets", "mitm", "runtime/dial", "runtime/broker", "runtime/warden"]

CHECKED_ROOTS = ["base", "netstack", "policy", "secrets", "mitm", "guest", "runtime", "cmake"]
SOURCE = re.compile(r"\.(cc|h|c|cpp|hpp)$")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
CONNECT = re.compile(r"(?<![\w.:])(?<!->)(?:::\s*)?connect\s*\(|\b(?:SYS|__NR)_connect\b")
# In this order: a comment mark inside a string is text, a quote inside a comment too.
TOKEN = re.compile(
    r'(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)'
    r'|(?P<string>R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|\'(?:\\[^\']+|[^\'\\\n])\')',
    re.S)


def blank(text):
    """TEXT as spaces, with its line ends, so that positions stay."""
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    return TOKEN.sub(lambda m: blank(m.group()) if m.group("comment") else m.group(), text)


def without_comments_and_strings(text):
    return TOKEN.sub(lambda m: blank(m.group()), text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def is_in(path, area):
    """Whether PATH is the folder or header AREA, or inside it."""
    return path == area or path.startswith(area + "/") or (area == PROTOCOL and path.startswith(area))


def layer_of(path):
    return next((layer for layer in LAYERS if is_in(path, layer)), None)


def sources(root):
    for top in CHECKED_ROOTS:
        for folder, subfolders, names in os.walk(os.path.join(root, top)):
            subfolders.sort()
            for name in sorted(names):
                if SOURCE.search(name):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_layer(root, path, included, quoted):
    """Why the file PATH may not include INCLUDED, or None."""
    target = layer_of(included)
    own = layer_of(path)
    if target is None:
        beside = os.path.join(root, os.path.dirname(path), included)
        if quoted and os.path.exists(beside):
            full = os.path.relpath(os.path.realpath(beside), os.path.realpath(root))
            return f'includes a file of ours by a relative path; write "{full}"'
        return None
    if own is None or is_in(included, own):
        return None
    if any(is_in(included, allowed) for allowed in LAYERS[own]):
        return None
    may = ", ".join(LAYERS[own]) or "nothing of ours"
    return (f"{own}/ may not include {included}: it may use {may}. Declare the interface "
            f"in {own}/ or base/ and let a folder above implement it")


def check_library(path, included):
    """Why the file PATH may not include the third-party header INCLUDED, or None."""
    for library, headers, areas in LIBRARIES:
        if re.match(headers, included) and not any(is_in(path, area) for area in areas):
            return (f"{library}'s header {included} belongs to {' and '.join(a + '/' for a in areas)} only: "
                    "use the adapter there, or extend it")
    return None


def check_includes(root, path, text):
    if layer_of(path) is None and not is_in(path, "cmake"):
        yield (f"{path}:1: {os.path.dirname(path)}/ is not in the layout; put the file into one of its folders, "
               "or give the folder its row in tests/check_includes/check_includes.py")
    code = without_comments(text)
    for match in INCLUDE.finditer(code):
        quoted, included = match.group(1) == '"', match.group(2)
        wrong = check_layer(root, path, included, quoted) or check_library(path, included)
        if wrong:
            yield f"{path}:{line_of(code, match.start())}: {wrong}"


def check_one_connect(root, texts):
    calls = {}
    for path, text in texts.items():
        if any(is_in(path, area) for area in ONE_CONNECT):
            code = without_comments_and_strings(text)
            lines = [line_of(code, match.start()) for match in CONNECT.finditer(code)]
            if lines:
                calls[path] = lines
    if len(calls) > 1:
        for path, lines in calls.items():
            for line in lines:
                yield (f"{path}:{line}: connect() is called in {len(calls)} files; the warden has one guarded "
                       "dialler, which checks names and addresses: call that")
    if not calls and any(path.startswith("runtime/warden/") and path.endswith(".cc") for path in texts):
        yield ("runtime/warden:1: no connect() found in the warden's code, so this check sees nothing; "
               "teach it how the dialler connects now")


def check(root):
    texts = {}
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            texts[path] = file.read()
    for path, text in texts.items():
        yield from check_includes(root, path, text)
    yield from check_one_connect(root, texts)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_includes.py ROOT")
    violations = list(check(sys.argv[1]))
    print("\n".join(violations) or "the includes follow the layout")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
