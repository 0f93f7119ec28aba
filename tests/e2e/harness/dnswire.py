"""A little of the DNS wire format, for the test server and for queries from inside a sandbox.

Stands alone: its text is also sent into sandboxes as a program.
"""

import socket
import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16,
         "AAAA": 28, "SRV": 33, "SVCB": 64, "HTTPS": 65, "CAA": 257, "ANY": 255}
NAMES = {number: name for name, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def encode_name(name):
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(message, at):
    labels, end, jumps = [], None, 0
    while True:
        length = message[at]
        if length >= 0xC0:
            end = at + 2 if end is None else end
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            jumps += 1
            if jumps > 20:
                raise ValueError("compression loop")
            continue
        at += 1
        if length == 0:
            return ".".join(labels), at if end is None else end
        labels.append(message[at:at + length].decode("latin-1"))
        at += length


def query(name, kind, identity=0x5A11):
    return (struct.pack("!HHHHHH", identity, 0x0100, 1, 0, 0, 0) + encode_name(name) +
            struct.pack("!HH", TYPES[kind], 1))


def rdata(kind, *values):
    """The data of a record of KIND: numbers have two bytes, other texts are names."""
    if kind == "TXT":
        return b"".join(bytes([len(text)]) + text.encode() for text in values)
    return b"".join(encode_name(value) if isinstance(value, str) else struct.pack("!H", value)
                    for value in values)


def rdata_text(message, kind, at, length):
    if kind == 1:
        return socket.inet_ntop(socket.AF_INET, message[at:at + 4])
    if kind == 28:
        return socket.inet_ntop(socket.AF_INET6, message[at:at + 16])
    if kind in (2, 5, 12):
        return decode_name(message, at)[0]
    return message[at:at + length].hex()


def parse_answer(message):
    """(rcode, [(type, text)]) of a response."""
    _, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", message)
    at = 12
    for _ in range(questions):
        at = decode_name(message, at)[1] + 4
    found = []
    for _ in range(answers):
        at = decode_name(message, at)[1]
        kind, _, _, length = struct.unpack_from("!HHIH", message, at)
        found.append((NAMES.get(kind, str(kind)), rdata_text(message, kind, at + 10, length)))
        at += 10 + length
    return RCODES.get(flags & 15, str(flags & 15)), found


def ask(server, name, kind, timeout=5):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        s.send(query(name, kind))
        return parse_answer(s.recv(65535))


def ask_tcp(server, name, kind, timeout=5):
    with socket.create_connection((server, 53), timeout=timeout) as s:
        message = query(name, kind)
        s.sendall(struct.pack("!H", len(message)) + message)
        stream = s.makefile("rb")
        (length,) = struct.unpack("!H", stream.read(2))
        return parse_answer(stream.read(length))
