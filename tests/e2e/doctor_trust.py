#!/usr/bin/env python3
"""`doctor trust` says of each program what is so, and Java trusts the gate."""

import os
import shutil
import ssl
import subprocess
import textwrap

from harness import World, main, skip, test


def doctor(world, *arguments):
    return world.sandboxctl("doctor", "trust", *arguments)


def policy(world, programs, more=""):
    """A policy that mounts PROGRAMS, a script by name, where the sandbox's PATH finds them first."""
    folder = world.folder_for(0)
    mounts = []
    for name, script in programs.items():
        (folder / name).write_text("#!/bin/sh\n" + textwrap.dedent(script))
        os.chmod(folder / name, 0o755)
        mounts.append(f'{{ "{folder / name}", "/usr/local/bin/{name}" }}')
    file = folder / "policy.lua"
    file.write_text(f"sandbox {{ mounts = {{ {', '.join(mounts)} }} }}\n{more}")
    return str(file)


def programs(got):
    return {program["name"]: program for program in got.json()["programs"]}


@test("the distribution's programs are found to trust the gate, with and without variables")
def _(world):
    got = doctor(world, "--json")
    found = programs(got)
    for name in ("curl", "git", "openssl", "python", "go", "java", "ruby", "php"):
        if shutil.which({"python": "python3"}.get(name, name), path="/usr/bin"):
            assert found[name]["with_variables"] is True, got
            assert found[name]["without"] is True and found[name]["fix"] == "", got
    for one in found.values():
        assert one["with_variables"] is not None or one["fix"] or one["said"], one
    failing = [name for name, one in found.items() if one["with_variables"] is False]
    assert failing == [], got
    assert got.code == 0 and got.json()["trusted"] is True, got


@test("a program that does not trust the gate is told apart, with what to do, and the exit says so")
def _(world):
    file = policy(world, {"deno": """
        echo "error: invalid peer certificate: UnknownIssuer"
        exit 1"""})
    got = doctor(world, "-f", file).expect(1)
    line = next(line for line in got.text.splitlines() if line.startswith("deno "))
    assert line.split()[1:3] == ["NO", "NO"], got
    assert "deno: keep the sandbox's variables" in got.text, got
    assert "it said: error: invalid peer certificate: UnknownIssuer" in got.text, got
    assert "not all trust the gate" in got.text, got


@test("a program that needs the variables is told apart from one that doesn't")
def _(world):
    file = policy(world, {"deno": """
        [ -n "$DENO_CERT" ] && echo status 403 || echo UnknownIssuer"""})
    found = programs(doctor(world, "--json", "-f", file))
    assert found["deno"]["with_variables"] is True and found["deno"]["without"] is False, found
    assert found["deno"]["said"] == "UnknownIssuer" and found["deno"]["fix"], found


@test("a program that can't be tried as it is installed is no failure")
def _(world):
    file = policy(world, {"perl": "echo 'IO::Socket::SSL 1.42 must be installed'\n", "dotnet": ""})
    got = doctor(world, "--json", "-f", file).expect(0)
    found = programs(got)
    for name in ("perl", "dotnet"):
        assert found[name]["with_variables"] is None and found[name]["without"] is None, got


@test("what a program prints changes neither the terminal nor the findings")
def _(world):
    file = policy(world, {"deno": r"""
        printf 'end\nnode\tyes\tyes\t\nunknown\tyes\tyes\t\n\033]0;title\007\tbad "quote"\\\n'"""})
    got = doctor(world, "--json", "-f", file).expect(1)
    found = programs(got)
    assert found["deno"]["with_variables"] is False and "unknown" not in found, got
    assert found["deno"]["said"] == ']0;titlebad "quote"\\', got
    assert "\033" not in got.text, got


@test("bun is tried by what it reads: NODE_EXTRA_CA_CERTS, which leads to the gate's certificate")
def _(world):
    # No bun can be had from the distribution. What stands in for it trusts that one file, as bun documents.
    file = policy(world, {"bun": """
        [ -n "$NODE_EXTRA_CA_CERTS" ] || { echo UNABLE_TO_GET_ISSUER_CERT_LOCALLY; exit 1; }
        curl -s -o /dev/null -w 'status %{http_code}\\n' --capath /none --cacert "$NODE_EXTRA_CA_CERTS" "$url" """})
    bun = programs(doctor(world, "--json", "-f", file))["bun"]
    assert bun["with_variables"] is True and bun["without"] is False, bun
    assert "NODE_EXTRA_CA_CERTS" in bun["fix"], bun


@test("what doctor trust says of browsers makes a client with their library trust the gate")
def _(world):
    if not all(shutil.which(name, path="/usr/bin:/bin") for name in ("certutil", "tstclnt")):
        skip("no certutil, or no client of NSS")
    fix = programs(doctor(world, "--json", "-f", policy(world, {"chromium": ""})))["chromium"]["fix"]
    assert fix.startswith("-e HOME=/root, or "), fix
    fix = fix.removeprefix("-e HOME=/root, or ")
    for folder in (".pki/nssdb", ".local/share/pki/nssdb"):
        client = f"tstclnt -Q -h api.example.test -p 443 -d sql:$HOME/{folder} >/dev/null 2>&1"
        got = world.run(f"export HOME=/tmp/home; mkdir -p $HOME/{folder}\n"
                        f"certutil -d sql:$HOME/{folder} -N --empty-password\n"
                        f"{client} && echo trusted before\n{fix}\n{client} && echo trusted",
                        policy='allow.http { host = "api.example.test" }').expect(0)
        assert got.text == "trusted\n", got


@test("a policy's secrets are not read, and its rules don't count")
def _(world):
    file = policy(world, {"dotnet": ""}, 'secret "T" { from = file "/no/such/file", hosts = { "a.example.test" } }\n'
                             'dns { unlisted = "nxdomain" }\n')
    found = programs(doctor(world, "--json", "-f", file))
    assert found["curl"]["with_variables"] is True, found


@test("a policy with a mistake is refused")
def _(world):
    file = world.folder_for(0) / "bad.lua"
    file.write_text("allow.htp {}\n")
    got = doctor(world, "-f", str(file)).expect(125)
    assert "bad.lua:1" in got.errors, got


CLIENT = """
public class Client {
  public static void main(String[] arguments) throws Exception {
    var url = new java.net.URL("https://api.example.test/small");
    System.out.write(url.openStream().readAllBytes());
    System.out.flush();
  }
}
"""


@test("java gets a page, also without any environment")
def _(world):
    if not shutil.which("javac", path="/usr/bin:/bin"):
        skip("no java that compiles")
    source = world.folder_for(0) / "Client.java"
    source.write_text(CLIENT)
    for prefix in ([], ["env", "-i", "PATH=/usr/bin:/bin"]):
        got = world.run(prefix + ["java", "/Client.java"], options=["-v", f"{source}:/Client.java:ro"],
                        policy='allow.http { host = "api.example.test" }').expect(0)
        assert got.text == "small\n", got


@test("java reads the gate's store where its own can't be extended")
def _(world):
    if not shutil.which("javac", path="/usr/bin:/bin"):
        skip("no java that compiles")
    folder = world.folder_for(0)
    (folder / "Client.java").write_text(CLIENT)
    (folder / "cacerts").write_text("not a JKS")
    got = world.run(["java", "/Client.java"],
                    options=["-v", f"{folder}/Client.java:/Client.java:ro",
                             "-v", f"{folder}/cacerts:/etc/ssl/certs/java/cacerts:ro"],
                    policy='allow.http { host = "api.example.test" }').expect(0)
    assert got.text == "small\n" and "cacerts.jks" in got.errors, got


@test("java trusts the gate by its variable where its own store is PKCS #12, and doctor trust says so")
def _(world):
    if not all(shutil.which(name, path="/usr/bin:/bin") for name in ("javac", "keytool")):
        skip("no java that compiles, or no keytool")
    folder = world.folder_for(0)
    (folder / "root.pem").write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(True)[0]))
    (folder / "cacerts").unlink(missing_ok=True)
    subprocess.run(["keytool", "-importcert", "-noprompt", "-storetype", "PKCS12", "-alias", "root",
                    "-keystore", folder / "cacerts", "-storepass", "changeit", "-file", folder / "root.pem"],
                   check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (folder / "cacerts").read_bytes()[0] == 0x30, "keytool made no PKCS #12"
    file = folder / "policy.lua"
    file.write_text(f'sandbox {{ mounts = {{ {{ "{folder}/cacerts", "/etc/ssl/certs/java/cacerts" }} }} }}\n')
    java = programs(doctor(world, "--json", "-f", str(file)))["java"]
    assert java["with_variables"] is True and java["without"] is False and "keytool" in java["fix"], java


@test("nothing is left behind")
def _(world):
    world.nothing_left()


main(World)
