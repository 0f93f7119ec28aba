"""An HTTP/1.1 server that keeps what it received byte by byte, and answers what a test wants.

    /whoami         the request's method, target and header fields, as JSON
    /echo           the body that was sent
    /sha256         the SHA-256 of the body that was sent, in hex
    /bytes/N        N bytes of a fixed pattern (`pattern(N)`)
    /chunks/N       N chunks of ten bytes each
    /status/N       that status
    /slow/N         the answer after N milliseconds
    /git/…          git smart HTTP on `git_root`; with `git_password` set, Basic is asked for
    anything else   "hello" and the path
"""

import base64
import gzip
import hashlib
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time

from . import netns

_BLOCK = hashlib.sha512(b"sallyport").digest() * 1024


def pattern(size):
    """SIZE bytes that repeat only every 64 KiB."""
    return (_BLOCK * (size // len(_BLOCK) + 1))[:size]


class Request:
    """A request as it arrived."""

    def __init__(self, address, head, tls):
        self.address = address
        self.raw = head
        self.tls = tls
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.path = self.target.split("?")[0]
        self.fields = [tuple(part.strip() for part in line.split(":", 1))
                       for line in lines[1:] if line]
        self.body = b""

    def get(self, name, default=None):
        return next((v for n, v in self.fields if n.lower() == name.lower()), default)

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]


class Origin:
    """Listens on (ADDRESS, PORT) pairs; TLS where CERTIFICATE is given and the port is in TLS_PORTS."""

    def __init__(self, endpoints, certificate=None, tls_ports=(443,)):
        self.requests = []
        self.connections = 0
        self.handler = None     # Called with (request, connection) first; True: it has answered.
        self.git_root = None
        self.git_password = None
        self._lock = threading.Lock()
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*map(str, certificate))
        self._servers = []
        self.ports = []
        for address, port in endpoints:
            self._listen(address, port, self._context if port in tls_ports else None)

    def _listen(self, address, port, context):
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer._serve(self.request, context)

        class Server(socketserver.ThreadingTCPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 256

            def handle_error(self, request, client_address):
                pass  # A peer that goes away in the middle is what many tests are about.

        with netns.of(address):
            server = Server((address, port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._servers.append(server)
        self.ports.append(server.server_address[1])

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def forget(self):
        with self._lock:
            self.requests.clear()
            self.connections = 0

    def received(self):
        """Every byte of every head and body that arrived."""
        with self._lock:
            return b"\n".join(r.raw + r.body for r in self.requests)

    def _serve(self, connection, context):
        with self._lock:
            self.connections += 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(60)
        if context:
            connection = context.wrap_socket(connection, server_side=True)
        try:
            with connection.makefile("rb", buffering=65536) as stream:
                while self._serve_one(connection, stream, bool(context)):
                    pass
        finally:
            connection.close()

    def _serve_one(self, connection, stream, tls):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline(65536)
            if not line:
                return False
            head += line
        request = Request(connection.getsockname()[:2], head, tls)
        with self._lock:
            self.requests.append(request)
        if self.handler and self.handler(request, connection):
            return False
        if (request.get("Expect") or "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.path == "/sha256":
            digest = hashlib.sha256()
            for piece in self._body(request, stream):
                digest.update(piece)
            self._answer(connection, request, 200, digest.hexdigest().encode() + b"\n")
        else:
            request.body = b"".join(self._body(request, stream))
            self._route(connection, request)
        return (request.get("Connection") or "").lower() != "close"

    @staticmethod
    def _body(request, stream):
        if (request.get("Transfer-Encoding") or "").lower() == "chunked":
            while True:
                size = int(stream.readline(), 16)
                if size == 0:
                    while stream.readline() not in (b"\r\n", b""):
                        pass
                    return
                yield stream.read(size)
                stream.readline()
        left = int(request.get("Content-Length") or 0)
        while left > 0:
            piece = stream.read(min(left, 1 << 20))
            if not piece:
                return
            left -= len(piece)
            yield piece

    def _route(self, connection, request):
        _, first, *rest = (request.path + "/").split("/")
        number = int(rest[0]) if rest and rest[0].isdigit() else 0
        if first == "whoami":
            answer = {"method": request.method, "target": request.target, "fields": request.fields}
            self._answer(connection, request, 200, json.dumps(answer).encode() + b"\n",
                         "application/json")
        elif first == "echo":
            self._answer(connection, request, 200, request.body)
        elif first == "bytes":
            self._answer(connection, request, 200, pattern(number))
        elif first == "chunks":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(number):
                connection.sendall(b"a\r\n%09d\n\r\n" % i)
            connection.sendall(b"0\r\n\r\n")
        elif first == "status":
            self._answer(connection, request, number, b"status\n")
        elif first == "slow":
            time.sleep(number / 1000)
            self._answer(connection, request, 200, b"late\n")
        elif first == "git" and self.git_root:
            self._git(connection, request)
        else:
            self._answer(connection, request, 200, b"hello " + request.path.encode() + b"\n")

    @staticmethod
    def _answer(connection, request, status, body, kind="text/plain", extra=""):
        head = (f"HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\n{extra}\r\n").encode()
        connection.sendall(head if request.method == "HEAD" else head + body)

    def _git(self, connection, request):
        if self.git_password is not None:
            scheme, _, text = (request.get("Authorization") or "").partition(" ")
            sent = base64.b64decode(text).decode("latin-1") if scheme.lower() == "basic" else ""
            if sent.partition(":")[2] != self.git_password:
                self._answer(connection, request, 401, b"who are you?\n",
                             extra='WWW-Authenticate: Basic realm="git"\r\n')
                return
        body = request.body
        if (request.get("Content-Encoding") or "") == "gzip":
            body = gzip.decompress(body)
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.git_root),
            "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path[len("/git"):], "CONTENT_LENGTH": str(len(body)),
            "QUERY_STRING": request.target.partition("?")[2],
            "CONTENT_TYPE": request.get("Content-Type") or "", "REMOTE_USER": "guest",
            "REMOTE_ADDR": "127.0.0.1", "GIT_PROTOCOL": request.get("Git-Protocol") or "",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment,
                              capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        kind = fields.pop("Content-Type", "text/plain")
        self._answer(connection, request, status, content, kind)
