#!/usr/bin/env python3
"""Holds editors/sallyport.lua to the engine: each global, field and method that it declares is one
of the policy language, and the other way round; a doc line stands before each global.

    check_editor.py ROOT
"""

import pathlib
import re
import sys

from check_documents import differences

# A class of the definitions: the source, and what its names stand between.
CLASSES = {
    "ApprovalFields": [("declare_approvals.cc", r'reader\.Expect\(\{("webhook".*?)\}\)')],
    "SandboxFields": [("declare_options.cc", r'reader\.Expect\(\{("image".*?)\}\)')],
    "DnsFields": [("declare_options.cc", r'reader\.Expect\(\{("resolvers".*?)\}\)')],
    "UpstreamFields": [("declare_upstream.cc", r'reader\.Expect\(\{("ca", "proxy".*?)\}\)')],
    "UpstreamHostFields": [("declare_upstream.cc", r'reader\.Expect\(\{("ca", "pin".*?)\}\)')],
    "SecretFields": [("declare_secrets.cc", r'reader\.Expect\(\{("from".*?)\}\)')],
    "OAuth2Fields": [("declare_sources.cc", r'reader\.Expect\(\{("token_url".*?)\}\)')],
    "GitHubAppFields": [("declare_sources.cc", r'reader\.Expect\(\{("app_id".*?)\}\)')],
    "Rule": [("declare_rules.cc", r"Words MakeFieldsOf\(.*?\{(.*?)\n\}")],
    "Events": [("declare_hooks.cc", r"const Words kEvents = \{(.*?)\};")],
    "Store": [("script_store.cc", r"kFunctions\[\] = \{(.*?)nullptr")],
    "Endpoint": [("script_endpoint.cc", r"kEndpointFunctions\[\] = \{(.*?)nullptr"),
                 ("script_endpoint.cc", r'"an endpoint", \{(.*?)\}')],
    "Match": [("script_connection.cc", r"kMatchFunctions\[\] = \{(.*?)nullptr"),
              ("script_connection.cc", r'"a match", \{(.*?)\}')],
    "Connection": [("script_connection.cc", r"kConnectionFunctions\[\] = \{(.*?)nullptr"),
                   ("script_connection.cc", r'"a connection", \{(.*?)\}')],
    "Request": [("script_request.cc", r"kRequestFunctions\[\] = \{(.*?)nullptr"),
                ("script_request.cc", r'"a request",\s*\{(.*?)\}')],
    "Response": [("script_response.cc", r"kResponseFunctions\[\] = \{(.*?)nullptr"),
                 ("script_response.cc", r'"a response", \{(.*?)\}')],
}
# Defined in a loop, by other means than a name in the call.
EFFECTS = ["allow", "deny", "ask"]


def words_of_program(root, places):
    words = []
    for file, pattern in places:
        found = re.search(pattern, (root / "policy" / file).read_text(), re.S)
        if not found:
            raise SystemExit(f"policy/{file} has nothing like {pattern}; adapt check_editor.py")
        words += re.findall(r'"(\w+)"', found.group(1))
    return words


def globals_of_program(root):
    names = list(EFFECTS)
    for path in sorted((root / "policy").glob("*.cc")):
        if path.name == "test_file.cc":  # Another language: that of tests.
            continue
        names += re.findall(r'lua_(?:setglobal|register)\(lua, "(\w+)"', path.read_text())
    return sorted(set(names))


def classes_of_editor(text):
    found = {}
    for name, fields in re.findall(r"^---@class sallyport\.(\w+)\n((?:---@field .*\n)*)", text, re.M):
        found[name] = re.findall(r"^---@field (\w+)", fields, re.M)
    return found


def globals_of_editor(text):
    return re.findall(r"^(?:function (\w+)\(|(\w+) = )", text, re.M)


def check(root):
    text = (root / "editors/sallyport.lua").read_text()
    declared = classes_of_editor(text)
    wrong = differences("editors/sallyport.lua, classes", list(CLASSES), list(declared))
    for name, places in CLASSES.items():
        wrong += differences(f"editors/sallyport.lua, {name}", words_of_program(root, places), declared.get(name, []))
    names = [a or b for a, b in globals_of_editor(text)]
    wrong += differences("editors/sallyport.lua", globals_of_program(root), names)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(function |\w+ = )", line):
            comments = []
            while number > 0 and lines[number - 1].startswith("---"):
                number -= 1
                comments.append(lines[number])
            if not any(re.match(r"---\w", comment) for comment in comments):
                wrong.append(f"editors/sallyport.lua: no doc line before: {line}")
    return wrong


if __name__ == "__main__":
    mistakes = check(pathlib.Path(sys.argv[1]))
    print("\n".join(mistakes) or "the editor's definitions are the policy language")
    sys.exit(1 if mistakes else 0)
