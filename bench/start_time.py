"""Start to exit of `true`: a sandbox with its network, warden and gate, against peers without a network."""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import PLAIN, World
from measure import interleave, median, quantile, spend, table

POLICY = 'allow.http { host = "api.example.test" }\n'


def ours(world, user, policy):
    folder = world.folder_for(user)
    argv = world.as_user(user) + [str(world.programs_for(user) / "sandboxctl"), "run", "--resolver", "11.0.0.53",
                                  "--audit", str(folder / "audit.jsonl"), "-f", str(policy), "--", "true"]
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
    # Where both cgroup versions are mounted crun refuses to run; the mount is taken away for us alone.
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=False, stderr=subprocess.DEVNULL)
    found = {}
    if shutil.which("bwrap"):
        bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
        found["bubblewrap, no network"] = lambda: spend(bwrap)
        found["bubblewrap, no network, plain user"] = lambda: spend(world.as_user(PLAIN) + bwrap, cwd="/")
    if shutil.which("crun"):
        found["crun, no network"] = crun(world)
    if shutil.which("podman"):
        podman = ["podman", "run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
                  "nproc=1000:1000", "--rootfs", "/:O", "true"]
        found["podman, no network"] = lambda: spend(podman)
    return found


def measure(rounds):
    rounds = rounds or 60
    world = World()
    try:
        world.nginx.close()  # Nothing of ours in the background; the network itself stays.
        policy = pathlib.Path(tempfile.mkdtemp(dir=world.folder)) / "policy.lua"
        policy.write_text(POLICY)
        os.chmod(policy.parent, 0o755)
        contenders = {"sallyport, with network": ours(world, 0, policy),
                      "sallyport, with network, plain user": ours(world, PLAIN, policy),
                      "plain fork and exec": lambda: spend(["true"]), **peers(world)}
        missing = []
        for name, run in list(contenders.items()):
            for _ in range(3):
                sample = run()
            if sample["code"] != 0:
                missing.append(name)
                del contenders[name]
        results = interleave(contenders, rounds)
    finally:
        world.close()
    base = results.get("bubblewrap, no network")
    rows = []
    for name, samples in results.items():
        ratio = f"{median(samples, 'wall') / median(base, 'wall'):.2f}" if base else "-"
        rows.append([name, f"{median(samples, 'wall') * 1e3:.2f}", f"{quantile(samples, 'wall', .95) * 1e3:.2f}",
                     f"{median(samples, 'cpu') * 1e3:.2f}", ratio])
    print(f"start to exit of `true`, {rounds} rounds, interleaved")
    table(["", "median ms", "p95 ms", "CPU ms", "x bubblewrap"], rows)
    for name in missing:
        print(f"left out, it fails on this host: {name}")
    for program in ("bwrap", "crun", "podman"):
        if not shutil.which(program):
            print(f"left out, not installed: {program}")
    return {"rounds": rounds, "samples": results, "left_out": missing}
