#!/usr/bin/env python3
"""check_includes.py must refuse each kind of bad tree, at the right line, and
accept a good one."""

import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_includes.py")
DIALLER = {"runtime/warden/dialler.cc": "void f() {\n  if (::connect(fd, a, n) != 0) return;\n}\n"}


def run(files):
    """Runs the check over a tree made of FILES; returns its exit code and output."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, SCRIPT, root], stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout


class CheckIncludes(unittest.TestCase):
    def accepts(self, files):
        code, output = run(files)
        self.assertEqual((code, output), (0, "the includes follow the layout\n"))

    def refuses(self, files, *where):
        code, output = run(files)
        self.assertEqual(code, 1, output)
        self.assertEqual([line.split(" ")[0] for line in output.splitlines()], [w + ":" for w in where], output)

    def test_a_tree_that_follows_the_layout(self):
        self.accepts({
            **DIALLER,
            "base/loop.h": "#include <vector>\n",
            "base/loop.cc": '#include "base/loop.h"\n',
            "netstack/stack.cc": '#include "base/loop.h"\n#include <lwip/tcp.h>\n#include "lwip/udp.h"\n',
            "policy/engine.cc": '#include <lua.hpp>\nextern "C" {\n#include <lauxlib.h>\n}\n',
            "mitm/tls.cc": '#include <openssl/ssl.h>\n#include <llhttp.h>\n#include "secrets/value.h"\n',
            "runtime/backend/agent.cc": '#include "guest/protocol.h"\n#include "guest/protocol/frame.h"\n',
            "runtime/broker/fetch.cc": "#include <curl/curl.h>\n",
            "runtime/dial/resolver.cc": '#include <ares.h>\n#include "policy/dns_message.h"\n',
            "runtime/cli/main.cc": '#include <CLI/CLI.hpp>\n#include "runtime/api/sandbox.h"\n'
                                   '#include "sallyport_versions.h"\n',
        })

    def test_an_arrow_that_goes_down(self):
        self.refuses({"base/loop.cc": '#include "base/loop.h"\n\n#include "policy/engine.h"\n'}, "base/loop.cc:3")

    def test_neighbours_that_must_not_know_each_other(self):
        for path, header in [("netstack/flow.cc", "policy/engine.h"), ("netstack/flow.cc", "mitm/tls.h"),
                             ("policy/engine.cc", "secrets/value.h"), ("secrets/value.cc", "policy/engine.h"),
                             ("mitm/tls.cc", "netstack/flow.h"), ("mitm/tls.cc", "runtime/warden/warden.h"),
                             ("runtime/backend/ns.cc", "runtime/warden/warden.h"),
                             ("runtime/backend/ns.cc", "guest/agent.h"),
                             ("runtime/confine/jail.cc", "secrets/value.h"),
                             ("runtime/broker/fetch.cc", "policy/engine.h"),
                             ("runtime/image/layer.cc", "runtime/backend/ns.h"),
                             ("runtime/cli/run.cc", "runtime/warden/warden.h"),
                             ("guest/agent.cc", "runtime/backend/ns.h")]:
            with self.subTest(path=path, header=header):
                self.refuses({path: f'#include "{header}"\n'}, f"{path}:1")
                self.refuses({path: f"#  include <{header}>\n"}, f"{path}:1")

    def test_a_relative_path_does_not_get_around_the_layout(self):
        self.refuses({"policy/engine.h": "", "netstack/flow.cc": '#include "../policy/engine.h"\n'},
                     "netstack/flow.cc:1")
        self.refuses({"base/loop.h": "", "base/loop.cc": '#include "loop.h"\n'}, "base/loop.cc:1")

    def test_a_folder_that_has_no_row_in_the_layout(self):
        self.refuses({"runtime/extra/thing.cc": "int x;\n"}, "runtime/extra/thing.cc:1")
        self.refuses({"runtime/thing.cc": "int x;\n"}, "runtime/thing.cc:1")

    def test_a_library_outside_its_adapter(self):
        for path, header in [("mitm/a.cc", "lwip/tcp.h"), ("policy/a.cc", "openssl/sha.h"),
                             ("policy/a.cc", "llhttp.h"), ("runtime/warden/a.h", "lua.hpp"),
                             ("mitm/a.cc", "lauxlib.h"), ("policy/a.cc", "ares.h"), ("mitm/a.cc", "curl/curl.h"),
                             ("base/a.cc", "seccomp.h"), ("runtime/api/a.cc", "CLI/CLI.hpp"),
                             ("netstack/a.cc", "nghttp2/nghttp2.h")]:
            with self.subTest(path=path, header=header):
                others = DIALLER if path.startswith("runtime/warden/") else {}
                self.refuses({**others, path: f"\n#include <{header}>\n"}, f"{path}:2")

    def test_comments_do_not_count(self):
        self.accepts({"base/a.cc": '// #include "policy/engine.h"\n/*\n#include <curl/curl.h>\n*/\n'})

    def test_a_second_place_that_connects(self):
        for call in ["connect(fd, a, n);", "if (::connect (fd, a, n))", "syscall(SYS_connect, fd, a, n);"]:
            with self.subTest(call=call):
                self.refuses({**DIALLER, "mitm/pool.cc": f"\n{call}\n"},
                             "mitm/pool.cc:2", "runtime/warden/dialler.cc:2")

    def test_what_only_looks_like_connect(self):
        self.accepts({**DIALLER, "mitm/pool.cc":
                      'pool.connect(1);\npool->connect(1);\nPool::connect(1);\nreconnect(1);\n'
                      '// connect(1)\nauto s = "connect(1)";\nauto r = R"(\nfunction connect() end)";\n'
                      "int many = 1'000'000;\nConnect(1);\n"})

    def test_a_connect_elsewhere_is_not_the_wardens(self):
        self.accepts({**DIALLER, "guest/agent.cc": "connect(1);\n", "runtime/api/client.cc": "connect(1);\n"})

    def test_a_warden_without_any_connect_means_the_check_is_blind(self):
        self.refuses({"runtime/warden/warden.cc": "int x;\n"}, "runtime/warden:1")


if __name__ == "__main__":
    unittest.main()
