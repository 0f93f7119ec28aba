"""The proxies that do the gate's job: they terminate TLS, set a header and encrypt again, each with
one worker on the same machine. All verify the server, keep connections to it open where they can,
and set the same header. None lets clients take up a session or writes a log of requests, except the
gate: its audit log is on, as always.

Each function starts one on a Network and returns its client; FileNotFoundError is for one that is
not installed, and names the packages.
"""

import os
import shutil
import subprocess

from contenders import MITMPROXY, NGINX, SERVER, SQUID, VALUE, Outside, Process, with_hosts
from harness import netns
from harness.nginx import Nginx, configure
from harness.sandbox import descendants
from loads import BULK, HOST


def direct(network):
    return Outside(network, SERVER)


def nginx(network):
    """A static reverse proxy; HTTP/2 with clients, HTTP/1.1 to the server: it can no other."""
    world = network.world
    folder = world.folder / "proxy"
    certificate = world.ca.folder / "api.pem", world.ca.folder / "api.key"
    command = configure(folder, [(NGINX, 443, certificate)])
    text = (folder / "nginx.conf").read_text()
    text = text.replace("worker_processes 2", "worker_processes 1")
    text = text.replace("  server {", f"""
  upstream server {{ server {SERVER}:443; keepalive 128; keepalive_requests 1000000; }}
  ssl_session_tickets off;
  server {{""", 1)
    text = text.replace("location = /kib", "location = /unused")
    text = text.replace("location / { }", f"""location / {{
      proxy_pass https://server; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host {HOST}; proxy_set_header Authorization "Bearer {VALUE}";
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {world.ca.ca}; proxy_ssl_session_reuse on;
      proxy_ssl_name {HOST}; proxy_ssl_server_name on; proxy_buffering off;
      proxy_request_buffering off; }}""")
    (folder / "nginx.conf").write_text(text)
    process = Process([*netns.in_host(), *command], folder / "log")
    process.wait_for((folder / "nginx.pid").exists)
    worker = [pid for pid, _ in descendants(process.process.pid)]
    return Outside(network, NGINX, process, lambda: worker)


def squid(network):
    """ssl-bump of what crosses its namespace: peek at the name, then bump with a certificate minted
    and cached. The time of its certificate helper counts.

    client_request_buffer_max_size: a client that is faster than the server fills this buffer, and
    squid 5.7 then reads into the zero bytes left, gets 0 for it, takes that for the client's end
    and breaks off. With the default of 512 KiB most big uploads end so; with half of the upload
    none did. The largest that squid can hold is under 256 MiB.
    """
    program, helper = "/usr/sbin/squid", "/usr/lib/squid/security_file_certgen"
    world, folder = network.world, network.world.folder / "squid"
    iptables = shutil.which("iptables-legacy", path=os.environ["PATH"] + ":/usr/sbin")
    if not os.path.exists(helper) or not iptables:
        raise FileNotFoundError("squid-openssl iptables")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    certificate = world.ca.folder / "api.pem", world.ca.folder / "api.key"
    origin = Nginx(world.folder / "behind-squid", [(SQUID, 443, certificate)])
    world._closing.append(origin)
    os.link(world.nginx.root / "bulk", origin.root / "bulk")
    subprocess.run([helper, "-c", "-s", str(folder / "db"), "-M", "4MB"], check=True,
                   capture_output=True)
    subprocess.run(["chown", "-R", "proxy", str(folder)], check=True)
    middle = network.add_middle()
    rule = "-t nat -A PREROUTING -i toguest -p tcp --dport 443 -j REDIRECT --to-ports 3129"
    subprocess.run(["nsenter", "-t", str(middle), "-n", iptables, *rule.split()], check=True)
    both = folder / "both.pem"
    both.write_text(world.ca.ca.read_text() + (world.ca.folder / "ca.key").read_text())
    port = (f"3129 intercept ssl-bump tls-cert={both} generate-host-certificates=on "
            "dynamic_cert_mem_cache_size=4MB options=NO_TICKET")
    (folder / "squid.conf").write_text(f"""
http_port 11.0.2.2:3128
https_port {port}
sslcrtd_program {helper} -s {folder}/db -M 4MB
sslcrtd_children 1 startup=1
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile={world.ca.ca}
request_header_access Authorization deny all
request_header_replace Authorization Bearer {VALUE}
http_access allow all
cache deny all
cache_mem 0 MB
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
dns_nameservers 11.0.0.53
via off
forwarded_for delete
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
max_filedescriptors 4096
client_request_buffer_max_size {BULK >> 21} MB
""")
    process = Process(["nsenter", "-t", str(middle), "-n", program, "-N", "-f",
                       str(folder / "squid.conf")], folder / "log")
    process.wait_for(lambda: (folder / "squid.pid").exists() and len(process.tree()) > 1)
    return Outside(network, SQUID, process, process.tree)


def mitmproxy(network):
    """A reverse proxy with an add-on that sets the header; bodies are streamed."""
    program = shutil.which("mitmdump")
    if not program:
        raise FileNotFoundError("mitmproxy")
    world, folder = network.world, network.world.folder / "mitmproxy"
    folder.mkdir()
    (folder / "set_header.py").write_text(
        "def requestheaders(flow):\n"
        f"    flow.request.headers['Authorization'] = 'Bearer {VALUE}'\n")
    both = folder / "both.pem"
    api = world.ca.folder / "api"
    both.write_text(api.with_suffix(".key").read_text() + api.with_suffix(".pem").read_text())
    settings = [f"confdir={folder}", f"ssl_verify_upstream_trusted_ca={world.ca.ca}",
                "flow_detail=0", "stream_large_bodies=1m", "termlog_verbosity=error",
                "block_global=false", "keep_host_header=true", "connection_strategy=lazy"]
    command = " ".join([program, f"--mode reverse:https://{HOST} --listen-host {MITMPROXY}",
                        f"--listen-port 443 --certs '*={both}' -s {folder / 'set_header.py'}",
                        *(f"--set {setting}" for setting in settings)])
    process = Process([*netns.in_host(), *with_hosts(network.hosts(SERVER), command)],
                      folder / "log")
    process.wait_for(lambda: f"{MITMPROXY}:443" in subprocess.run(
        [*netns.in_host(), "ss", "-Hltn"], capture_output=True, text=True, check=True).stdout)
    return Outside(network, MITMPROXY, process, process.tree)
