#!/usr/bin/env python3
"""What the profiles promise of the network, the working directory, the home, the environment, the root."""

import pathlib

from harness import World, main, test

PROFILES = ("permissive", "moderate", "restrictive")


def run(world, profile, command, work):
    return world.run(command, options=["--profile", profile], cwd=work,
                     env={"SALLYPORT_E2E_HOST_ONLY": "seen"})


def project(world, name):
    work = world.folder / name
    work.mkdir()
    (work / "input").write_text("from the host\n")
    return work


@test("every profile shows the current folder, and writes reach it only where it says so")
def _(world):
    for profile in PROFILES:
        work = project(world, f"work-{profile}")
        got = run(world, profile, "pwd; cat input; echo new > output || echo refused", work)
        assert got.text.startswith("/work\nfrom the host\n"), got
        writable = profile != "restrictive"
        assert (work / "output").exists() == writable, got
        assert ("refused" in got.text) != writable, got
        assert "warning" not in got.errors, got


@test("no profile shows the host's home or environment, or lets the root be written")
def _(world):
    home = world.home(0)
    (home / "private").write_text("of the host\n")
    try:
        for profile in PROFILES:
            got = run(world, profile, f"env; ls -A ~ {home} 2>&1; cat {home}/private; "
                                      "echo x > /usr/sallyport-e2e; true",
                      project(world, f"view-{profile}"))
            assert "SALLYPORT_E2E_HOST_ONLY" not in got.text, got
            assert "of the host" not in got.text, got
            assert not pathlib.Path("/usr/sallyport-e2e").exists(), got
    finally:
        (home / "private").unlink()


@test("the network is what the profile says")
def _(world):
    curl = "curl -s -o /dev/null -m 10 -w '%{http_code}' https://api.example.test/small; true"
    for profile, status in (("permissive", "200"), ("moderate", "403"), ("restrictive", "000")):
        got = run(world, profile, curl, project(world, f"net-{profile}"))
        assert got.text == status, (profile, got)


@test("a profile is shown as it is, takes no file beside it, and is not for a home")
def _(world):
    listed = world.sandboxctl("policy", "profile")
    assert listed.text.split() == sorted(PROFILES), listed
    shown = world.sandboxctl("policy", "profile", "moderate")
    assert shown.code == 0 and 'use "npm"' in shown.text, shown
    unknown = world.sandboxctl("policy", "profile", "lax")
    assert unknown.code == 2 and "moderate" in unknown.errors, unknown
    both = world.run("true", policy="", options=["--profile", "moderate"])
    assert both.code != 0 and "exclude" in both.errors, both
    at_home = world.run("true", options=["--profile", "moderate"], cwd=world.home(0))
    assert at_home.code == 125 and "home" in at_home.errors, at_home


main(World)
