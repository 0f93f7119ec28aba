"""Start to exit of `true`: a sandbox with its network, warden and gate, against peers without a
network."""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from goals import Goal, ratio, tell
from harness import PLAIN, World
from measure import interleave, medians, quantile, spend, table

OURS, OURS_PLAIN = "sallyport, with network", "sallyport, with network, plain user"
BWRAP, BWRAP_PLAIN = "bubblewrap, no network", "bubblewrap, no network, plain user"
CRUN, PODMAN = "crun, no network", "podman, no network"
PACKAGES = {"bwrap": "bubblewrap", "crun": "crun", "podman": "podman"}
# (ours, peer, bound): the time from start to exit is at most BOUND times the peer's.
RATIOS = [(OURS, BWRAP, 1.5), (OURS_PLAIN, BWRAP_PLAIN, 1.5), (OURS, PODMAN, 1 / 15)]

POLICY = 'allow.http { host = "api.example.test" }\n'


def ours(world, user, policy):
    folder = world.folder_for(user)
    argv = world.as_user(user) + [str(world.programs_for(user) / "sandboxctl"), "run",
                                  "--resolver", "11.0.0.53",
                                  "--audit", str(folder / "audit.jsonl"),
                                  "-f", str(policy), "--", "true"]
    environment = world.environment(user)
    return lambda: spend(argv, env=environment, cwd="/")


class Unmount:
    def __init__(self, folder):
        self.folder = folder

    def close(self):
        subprocess.run(["umount", str(self.folder)], check=False)
        self.folder.rmdir()  # Only ever an empty folder.


def crun_bundle(folder):
    """A bundle that shows the host's root read-only, as bubblewrap's command does."""
    bundle, root = folder / "bundle", pathlib.Path(tempfile.mkdtemp(prefix="sallyport-bench-root-"))
    bundle.mkdir()
    # In our own mount namespace, and outside of every folder that is ever emptied.
    subprocess.run(["mount", "--bind", "/", str(root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)
    subprocess.run(["crun", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["/usr/bin/true"])
    config["process"].pop("rlimits", None)
    config["root"] = {"path": str(root), "readonly": True}
    config["linux"].pop("resources", None)
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle, root


def crun(world):
    (bundle, root), count = crun_bundle(world.folder), itertools.count()
    world._closing.append(Unmount(root))
    return lambda: spend(["crun", "run", "-b", str(bundle), f"sp-{os.getpid()}-{next(count)}"])


def peers(world):
    # Where both cgroup versions are mounted crun refuses to run; the mount is taken away for us
    # alone.
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=False, stderr=subprocess.DEVNULL)
    found = {}
    if shutil.which("bwrap"):
        bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
        found[BWRAP] = lambda: spend(bwrap)
        found[BWRAP_PLAIN] = lambda: spend(world.as_user(PLAIN) + bwrap, cwd="/")
    if shutil.which("crun"):
        found[CRUN] = crun(world)
    if shutil.which("podman"):
        podman = ["podman", "run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024",
                  "--ulimit", "nproc=1000:1000", "--rootfs", "/:O", "true"]
        found[PODMAN] = lambda: spend(podman)
    return found


def able(contenders):
    """Those of CONTENDERS that work here, warmed up; and the names of the others."""
    failing = []
    for name, run in contenders.items():
        codes = [run()["code"] for _ in range(3)]
        if any(codes):
            failing.append(name)
    return {n: run for n, run in contenders.items() if n not in failing}, failing


def collect(rounds):
    """name -> samples; and the names of who can't run on this host."""
    world = World()
    try:
        world.nginx.close()  # Nothing of ours in the background; the network itself stays.
        policy = pathlib.Path(tempfile.mkdtemp(dir=world.folder)) / "policy.lua"
        policy.write_text(POLICY)
        os.chmod(policy.parent, 0o755)
        contenders, failing = able({OURS: ours(world, 0, policy),
                                    OURS_PLAIN: ours(world, PLAIN, policy),
                                    "plain fork and exec": lambda: spend(["true"]),
                                    **peers(world)})
        return interleave(contenders, rounds), failing
    finally:
        world.close()


def show(results, middle):
    base = middle.get(BWRAP)
    rows = []
    for name, samples in results.items():
        wall = middle[name]["wall"]
        rows.append([name, f"{wall * 1e3:.2f}", f"{quantile(samples, 'wall', .95) * 1e3:.2f}",
                     f"{middle[name]['cpu'] * 1e3:.2f}",
                     f"{wall / base['wall']:.2f}" if base else "-"])
    table(["", "median ms", "p95 ms", "CPU ms", "x bubblewrap"], rows)


def judge(middle):
    verdicts = []
    for name, peer, bound in RATIOS:
        value, why_not = ratio(middle, "wall", name, peer)
        user = "a plain user" if name == OURS_PLAIN else "root"
        goal = Goal(f"start to exit of true, as {user}", bound, f"x {peer.split(',')[0]}'s")
        verdicts.append(goal.judge(value, why_not))
    return verdicts


def measure(arguments):
    rounds = arguments.rounds or 60
    results, failing = collect(rounds)
    middle = medians(results)
    print(f"start to exit of `true`, {rounds} rounds, interleaved")
    show(results, middle)
    for name in failing:
        print(f"left out, it fails on this host: {name}")
    for program, package in PACKAGES.items():
        if not shutil.which(program):
            print(f"left out: {program} is not installed: apt-get install {package}")
    return {"rounds": rounds, "medians": middle, "goals": tell(judge(middle)), "samples": results,
            "left_out": failing}
