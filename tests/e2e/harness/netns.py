"""The two network namespaces of a test: the host's, in which sandboxctl runs with all that it starts,
and the world's, in which everything else is, this process included. What is in the world is none of the
host's own addresses; the host's loopback is its own.

    host:  outside 11.0.254.2  2600:11:fe::2     world:  inside 11.0.254.1  2600:11:fe::1
"""

import contextlib
import ctypes
import os
import subprocess

_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
HOST_V4, HOST_V6 = "11.0.254.2", "2600:11:fe::2"
_host = None  # A descriptor of the host's namespace.


def libc(name, *arguments):
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def in_host():
    """What a command that is to run on the host begins with."""
    return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{_host}", "--"]


def _ip(commands, prefix=()):
    subprocess.run([*prefix, "ip", "-batch", "-"], input="\n".join(commands).encode() + b"\n",
                   check=True)


def make(addresses):
    """Leaves the machine's network; before any thread exists. ADDRESSES are in the world."""
    global _host
    libc("unshare", _CLONE_NEWNET | _CLONE_NEWNS)
    libc("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    _host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    libc("unshare", _CLONE_NEWNET)
    _ip(["link set lo up",
         f"link add outside type veth peer name inside netns {os.getpid()}",
         f"addr add {HOST_V4}/30 dev outside", f"addr add {HOST_V6}/64 dev outside nodad",
         "link set outside up", "route add default via 11.0.254.1"], in_host())
    _ip(["link set lo up", *(f"addr add {a} dev lo" for a in addresses),
         "addr add 11.0.254.1/30 dev inside", "addr add 2600:11:fe::1/64 dev inside nodad",
         "link set inside up"])
    _ip(["route add default via 2600:11:fe::1"], in_host())


@contextlib.contextmanager
def of(address):
    """Where sockets for ADDRESS are to be made: loopback is the host's. Without a world, as in the
    demo, all is the host's."""
    if _host is None or (not address.startswith("127.") and address not in (HOST_V4, HOST_V6)):
        yield
        return
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc("setns", _host, _CLONE_NEWNET)
        yield
    finally:
        libc("setns", own, _CLONE_NEWNET)
        os.close(own)


def on_host(function):
    """FUNCTION, whose sockets are the host's: a client's of a published port, say."""
    def run(*arguments):
        with of("127.0.0.1"):
            function(*arguments)
    return run
