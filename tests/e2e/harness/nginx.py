"""nginx with a configuration of its own, in a folder of its own."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

CONFIG = """
daemon off; master_process on; worker_processes 2; pid {folder}/nginx.pid;
error_log {folder}/error.log warn; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000; keepalive_timeout 60s;
  default_type application/octet-stream; client_max_body_size 0; server_tokens off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_session_cache off; ssl_protocols TLSv1.2 TLSv1.3;
{servers}
}}
"""

SERVER = """  server {{
    listen {address}:{port}{mode}; {tls}
    root {root}; dav_methods PUT; create_full_put_path on;
    location = /small {{ return 200 "small\\n"; }}
    location = /kib {{ return 200 "{kib}"; }}
    location / {{ }}
{more}  }}
"""


def configure(folder, servers, more=""):
    """Writes FOLDER/nginx.conf for Nginx's SERVERS and MORE; the command line that runs it."""
    folder = pathlib.Path(folder)
    root = folder / "www"
    root.mkdir(parents=True, exist_ok=True)
    blocks = []
    for address, port, certificate in servers:
        tls = ""
        if certificate:
            tls = f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
        blocks.append(SERVER.format(
            address=f"[{address}]" if ":" in address else address, port=port,
            mode=" ssl http2" if certificate else "", tls=tls, root=root, kib="k" * 1024,
            more=more))
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, user=user, servers="".join(blocks)))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return [program, "-p", str(folder), "-c", str(config)]


class Nginx:
    """SERVERS is a list of (address, port, (certificate, key) or None); MORE is for each of them."""

    def __init__(self, folder, servers, more=""):
        self.folder = pathlib.Path(folder)
        self.root = self.folder / "www"
        self.process = subprocess.Popen(configure(folder, servers, more), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self):
        deadline = time.monotonic() + 20
        while not (self.folder / "nginx.pid").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nginx: {self.process.stderr.read().decode()}")
            time.sleep(0.02)

    def close(self):
        """Ends it; again does nothing."""
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
