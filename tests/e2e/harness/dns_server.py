"""A recording DNS server, UDP and TCP, whose zone is a dict.

A zone entry is a list of answers, or a function of (name, type, how often it was asked) that
returns one. An answer: "11.0.0.80" (A), "2600:11::80" (AAAA), ("CNAME", "other.name"), ("TXT", "a", "b"),
("MX", 10, "mail.name"), ("SRV", 1, 2, 443, "a.name"), ("NS", "a.name"), ("PTR", "a.name"); DROP as the
entry lets every query time out, SERVFAIL says so. A name without an entry is NXDOMAIN; a wildcard
entry "*.name" serves what lies below.
"""

import socket
import socketserver
import struct
import threading

from . import dnswire

DROP = object()
SERVFAIL = object()


class DnsServer:
    def __init__(self, address, port=53):
        self.zone = {}
        self.ttl = 60
        self._log = []
        self._lock = threading.Lock()
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                answer = outer.answer(self.request[0], "udp")
                if answer:
                    self.request[1].sendto(answer, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self):
                while header := self.rfile.read(2):
                    message = self.rfile.read(struct.unpack("!H", header)[0])
                    answer = outer.answer(message, "tcp")
                    if answer:
                        self.wfile.write(struct.pack("!H", len(answer)) + answer)

        class UdpServer(socketserver.ThreadingUDPServer):
            daemon_threads = True
            max_packet_size = 65535

        class TcpServer(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._servers = [UdpServer((address, port), Udp), TcpServer((address, port), Tcp)]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def queries(self, below=None):
        """(name, type) of every query so far, optionally only of names that end in BELOW."""
        with self._lock:
            return [(n, t) for n, t, _ in self._log if below is None or n.endswith(below)]

    def forget(self):
        with self._lock:
            self._log.clear()

    def answer(self, message, transport):
        identity, flags, count = struct.unpack_from("!HHH", message)
        if count != 1:
            return self._reply(message, identity, 1, b"", [])
        name, end = dnswire.decode_name(message, 12)
        number, _ = struct.unpack_from("!HH", message, end)
        kind, key = dnswire.NAMES.get(number, str(number)), name.lower()
        with self._lock:
            asked = sum(1 for n, t, _ in self._log if (n, t) == (key, kind))
            self._log.append((key, kind, transport))
        entry = self._find(key)
        if callable(entry):
            entry = entry(key, kind, asked)
        question = message[12:end + 4]
        if entry is DROP:
            return None
        if entry is SERVFAIL:
            return self._reply(message, identity, 2, question, [])
        if entry is None:
            return self._reply(message, identity, 3, question, [])
        return self._reply(message, identity, 0, question, self._records(name, entry, kind))

    def _find(self, name):
        if name in self.zone:
            return self.zone[name]
        labels = name.split(".")
        for i in range(1, len(labels)):
            wildcard = "*." + ".".join(labels[i:])
            if wildcard in self.zone:
                return self.zone[wildcard]
        return None

    def _records(self, owner, entry, kind, depth=0):
        records = []
        for answer in entry:
            if isinstance(answer, tuple) and answer[0] != "CNAME":
                if kind in (answer[0], "ANY"):
                    data = dnswire.rdata(*answer)
                    records.append(self._record(owner, dnswire.TYPES[answer[0]], data))
            elif isinstance(answer, tuple):
                target = answer[1]
                records.append(self._record(owner, 5, dnswire.encode_name(target)))
                further = self._find(target.lower())
                if depth < 8 and isinstance(further, list):
                    records += self._records(target, further, kind, depth + 1)
            elif ":" in answer:
                if kind in ("AAAA", "ANY"):
                    records.append(self._record(owner, 28, socket.inet_pton(socket.AF_INET6, answer)))
            elif kind in ("A", "ANY"):
                records.append(self._record(owner, 1, socket.inet_pton(socket.AF_INET, answer)))
        return records

    def _record(self, owner, number, data):
        return (dnswire.encode_name(owner) + struct.pack("!HHIH", number, 1, self.ttl, len(data)) +
                data)

    @staticmethod
    def _reply(message, identity, rcode, question, records):
        flags = 0x8180 | rcode
        header = struct.pack("!HHHHHH", identity, flags, 1 if question else 0, len(records), 0, 0)
        return header + question + b"".join(records)
