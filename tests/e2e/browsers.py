#!/usr/bin/env python3
"""Browsers, and NSS's own client, trust the gate by themselves."""

import shutil

from harness import World, main, skip, test

POLICY = 'allow.http { host = "api.example.test" }'
URL = "https://api.example.test/small"
# The gate's own answer, which a browser shows; a page of the tests' server would be downloaded.
REFUSED = "https://refused.example.test/"
BARE = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/root"]


def needs(program):
    if not shutil.which(program, path="/usr/bin:/bin"):
        skip(f"no {program}")


def tstclnt(folder):
    return f"tstclnt -Q -h api.example.test -p 443 -d sql:{folder} >/dev/null 2>&1 && echo trusted"


@test("NSS's own client trusts the gate as the first program, with and without variables")
def _(world):
    needs("tstclnt")
    for prefix in ([], BARE):
        got = world.run(prefix + ["sh", "-c", tstclnt("$HOME/.pki/nssdb")], policy=POLICY).expect(0)
        assert got.text == "trusted\n", got


@test("NSS's own client does not trust the gate by another database")
def _(world):
    needs("tstclnt")
    needs("certutil")
    got = world.run("mkdir /tmp/d && certutil -N --empty-password -d sql:/tmp/d\n" + tstclnt("/tmp/d"),
                    policy=POLICY)
    assert "trusted" not in got.text, got


@test("a home that the policy or -e gives has a database")
def _(world):
    needs("tstclnt")
    got = world.run(tstclnt("/srv/home/.pki/nssdb"), policy=POLICY, options=["-e", "HOME=/srv/home"])
    assert got.expect(0).text == "trusted\n", got


@test("a home of the host's stays as it is")
def _(world):
    home = world.folder_for(0) / "home"
    home.mkdir(exist_ok=True)
    for options in ([], ["-e", "HOME=/root/below"]):
        world.run("touch /root/written", policy=POLICY, options=["-v", f"{home}:/root", *options]).expect(0)
        assert [path.name for path in home.iterdir()] == ["written"], list(home.iterdir())


@test("Chromium trusts the gate, also without any environment")
def _(world):
    needs("chromium")
    for prefix in ([], BARE):
        got = world.run(prefix + ["timeout", "60", "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                                  "--dump-dom", REFUSED], policy=POLICY, timeout=120)
        assert "urn:sallyport:name_not_granted" in got.expect(0).text, got


@test("many Chromiums that start at once leave the database as good as it was")
def _(world):
    needs("chromium")
    needs("tstclnt")
    got = world.run("for i in 1 2 3; do timeout 60 chromium --headless --no-sandbox --disable-gpu "
                    f"--user-data-dir=/tmp/$i --dump-dom {REFUSED} 2>/dev/null & done; wait\n" +
                    tstclnt("$HOME/.pki/nssdb"), policy=POLICY, timeout=120).expect(0)
    assert got.text.count("urn:sallyport:") == 3 and got.text.endswith("trusted\n"), got


@test("Chromium does not trust the gate without the database")
def _(world):
    needs("chromium")
    got = world.run(["sh", "-c", f"rm -r /root/.pki && timeout 60 chromium --headless --no-sandbox --disable-gpu "
                     f"--dump-dom {REFUSED}"], policy=POLICY, timeout=120)
    assert "urn:" not in got.text and "ERR_CERT_AUTHORITY_INVALID" in got.errors, got


# Firefox stays for a while after the page: it tries to reach its makers.
FIREFOX = f"""
MOZ_LOG=nsHttp:3 firefox --headless --screenshot /tmp/page.png {URL} >/tmp/log 2>&1 &
for i in $(seq 60); do sleep 1; grep -a -m 1 -o 'HTTP/[0-9.]* 200' /tmp/log && break; done
kill $!"""


@test("Firefox trusts the gate, also without any environment")
def _(world):
    needs("firefox")
    for prefix in ([], BARE):
        got = world.run(prefix + ["sh", "-c", FIREFOX], policy=POLICY, timeout=120)
        assert "HTTP/" in got.text, got


main(World)
