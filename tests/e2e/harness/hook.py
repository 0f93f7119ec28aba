"""A server that is sent documents: keeps each POST, and answers what a test wants."""

import http.server
import ssl
import threading


class Post:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body


class Hook:
    """Listens on ADDRESS with TLS if it has a CERTIFICATE. ANSWER(post) gives (status, body) or
    (status, body, headers); it runs in a thread of the connection's own, and may wait."""

    def __init__(self, address, certificate=None, answer=None, port=0):
        self.posts = []
        self.answer = answer or (lambda post: (200, b"{}"))
        self.hung_up = threading.Event()  # A client went away before it was answered.
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                post = Post(self.path, self.headers, body)
                post.connection = self.connection
                outer.posts.append(post)
                status, text, *more = outer.answer(post)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.send_header("Connection", "close")
                    for name, value in (more[0] if more else {}).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:
                    outer.hung_up.set()
                self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # A client that goes away in the middle.

        self._server = Server((address, port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, certificate))
            # The handshake belongs to the connection's thread: the server accepts at once.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                      do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
