#!/usr/bin/env python3
"""Budgets of rules: what is spent is refused and says when it may be tried again; what runs is ended."""

from harness import World, main, test

API = "https://api.example.test/small"


@test("requests beyond a rule's rate get 429 with Retry-After, and the audit log says why")
def _(world):
    got = world.run(f'for i in 1 2 3; do curl -s -D /tmp/head -o /tmp/body -w "%{{http_code}} " {API}; done; '
                    'cat /tmp/head /tmp/body',
                    policy='allow.http { host = "api.example.test", rate = "2/h" }')
    assert got.text.startswith("200 200 429 "), got
    assert "retry-after: " in got.text.lower() and "urn:sallyport:budget_rate" in got.text, got
    denied = [line for line in got.audit if line.get("verdict") == "deny"]
    assert [line["reason"] for line in denied] == ["budget_rate"], denied


@test("a download ends where its rule's bytes end")
def _(world):
    (world.nginx.root / "bulk").write_bytes(bytes(4 << 20))
    got = world.run('curl -s -o /tmp/body -w "%{http_code} %{exitcode} %{size_download}" '
                    'https://api.example.test/bulk; true',
                    policy='allow.http { host = "api.example.test", bytes = { down = "64KiB" } }')
    status, code, size = got.text.split()
    assert status == "200" and code != "0" and int(size) < 4 << 20, got
    assert any(line.get("reason") == "budget_bytes" for line in got.audit), got.audit


@test("a raw connection ends where its rule's bytes or its lifetime end")
def _(world):
    (world.nginx.root / "bulk").write_bytes(bytes(4 << 20))
    read = ("import socket, time\nbegan = time.monotonic()\n"
            "s = socket.create_connection(('api.example.test', 80))\n"
            "s.sendall(b'GET /bulk HTTP/1.1\\r\\nHost: api.example.test\\r\\n\\r\\n')\n"
            "size = 0\n"
            "try:\n"
            "  while data := s.recv(65536): size += len(data)\n"
            "except ConnectionResetError: print('reset', size)\n"
            "else: print('end', size)\n")
    got = world.run(["python3", "-c", read],
                    policy='allow.tcp { host = "api.example.test", port = 80, bytes = { down = "64KiB" } }')
    word, size = got.text.split()
    assert word == "reset" and int(size) < 4 << 20, got
    got.told(reason="budget_bytes", verdict="deny", transport="tcp")
    got = world.run(["python3", "-c", read],
                    policy='allow.tcp { host = "api.example.test", port = 80, lifetime = "500ms" }')
    assert got.text.startswith("reset"), got
    got.told(reason="budget_lifetime", verdict="deny", transport="tcp")


main(World)
