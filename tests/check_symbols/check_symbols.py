#!/usr/bin/env python3
"""Checks that the BoringSSL inside an executable and an OpenSSL that other
libraries bring into the process don't meet.

    check_symbols.py EXECUTABLE...

BoringSSL's symbols are unversioned, so if one left the executable, the dynamic
linker would give it to libcrypto.so.3 or libssh2 in place of their own. For each
executable: it is static, and loads no library at all; or it exports no such symbol, it takes none from outside, and when it
starts with every symbol bound at once, no binding crosses its border. Exits with
1, and one line for each violation, otherwise.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

# The families of names that OpenSSL and BoringSSL share.
SHARED = re.compile(
    r"^(_?(AES|ASN1|BIO|BN|CBB|CBS|CMAC|CONF|CRYPTO|DH|DSA|DTLS|EC|ECDH|ECDSA|ED25519|ENGINE|ERR|EVP|HKDF|HMAC|MD5|"
    r"OBJ|OPENSSL|PEM|PKCS5|PKCS7|PKCS8|PKCS12|POLICY|RAND|RSA|SHA1|SHA256|SHA512|SSL|TLS|X25519|X509|X509V3)_"
    r"|[di]2[di]_|SHA(1|224|256|384|512)$|MD[45]$|HMAC$|sk_)")
BINDING = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: \w+ symbol `([^']+)'")


def dynamic_symbols(executable, which):
    """The names in EXECUTABLE's dynamic symbol table: WHICH is --defined-only or --undefined-only."""
    done = subprocess.run(["nm", "-D", which, executable], stdout=subprocess.PIPE, text=True, check=True)
    return [line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if line.strip()]


def bindings(executable):
    """(from, to, symbol) of each binding the dynamic linker makes when EXECUTABLE starts."""
    with tempfile.TemporaryDirectory() as folder:
        # Bound at once: else only what --version happens to call would be seen.
        env = dict(os.environ, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=os.path.join(folder, "log"), LD_BIND_NOW="1")
        subprocess.run([executable, "--version"], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60, check=False)
        found = []
        for log in glob.glob(os.path.join(folder, "log.*")):
            with open(log, encoding="utf-8", errors="replace") as file:
                found += BINDING.findall(file.read())
        return found


def is_static(executable):
    """Whether EXECUTABLE names no dynamic linker and needs no library: then nothing is ever bound."""
    done = subprocess.run(["readelf", "-lWd", executable], stdout=subprocess.PIPE, text=True, check=True)
    return not re.search(r"^\s*INTERP\s|\(NEEDED\)", done.stdout, re.MULTILINE)


def check(executable):
    if is_static(executable):
        return
    for symbol in dynamic_symbols(executable, "--defined-only"):
        if SHARED.match(symbol):
            yield f"exports {symbol}: link it through boringssl::ssl or boringssl::crypto, which hide BoringSSL"
    for symbol in dynamic_symbols(executable, "--undefined-only"):
        if SHARED.match(symbol):
            yield f"takes {symbol} from a shared library: it was linked with another OpenSSL"
    made = bindings(executable)
    if not made:
        yield "made no bindings at all when started, so this check saw nothing"
    for source, target, symbol in made:
        ours = [os.path.realpath(name) == os.path.realpath(executable) for name in (source, target)]
        if SHARED.match(symbol) and ours[0] != ours[1]:
            yield f"at start, {symbol} of {os.path.basename(source)} was bound to {os.path.basename(target)}"


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: check_symbols.py EXECUTABLE...")
    violations = [f"{executable}: {wrong}" for executable in sys.argv[1:] for wrong in check(executable)]
    print("\n".join(violations) or "no symbol of BoringSSL crosses the border of: " + " ".join(sys.argv[1:]))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
