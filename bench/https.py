"""HTTPS through the whole gate, with a secret swapped in every request, beside the direct way and proxies that
terminate TLS, set a header and encrypt again: nginx, squid with ssl-bump, mitmproxy (contenders.py has their
configurations, loads.py what the clients do).

All on one machine: client, gate or proxy, and server (nginx) share its CPUs, so the rates say what the machine does
in total; the CPU time is of the warden or of the proxy's processes alone.
"""

import os
import shutil
import sys
import tempfile

import contenders
from contenders import FOUR_SECRETS, NO_SECRET, ONE_SECRET, Network, Sandbox
from harness import World
from loads import BULK, BULKS, MODES, Unavailable, write_bulk
from measure import interleave, median, table

OURS = "sallyport"
NONE, FOUR = "sallyport, no secret", "sallyport, 4 secrets in bodies"

# (mode, figure, peer, bound): the figure of ours is at most BOUND times the peer's, or BOUND where there is none.
GOALS = [
    ("get32", "cpu", "nginx", 0.85), ("get1", "cpu", "nginx", 1), ("get32", "cpu", "squid", 1 / 2.5),
    ("get32", "cpu", "mitmproxy", 1 / 40), ("conn1", "cpu", "nginx", 0.6), ("conn16", "cpu", "nginx", 0.6),
    ("down", "cpu", "nginx", 1), ("up", "cpu", "nginx", 0.75), ("h2", "cpu", "nginx", 1),
    ("conn1", "p50", None, 2000), ("get1", "p50", None, 130), ("idle", "bytes", None, 24 * 1024),
]
# Filtering bodies costs at most a tenth of the throughput.
FILTER_GOALS = [("down", NONE, 1.1), ("up", NONE, 1.1)]


def _needs():
    for program in ("wrk", "h2load", "curl"):
        if not shutil.which(program):
            raise SystemExit(f"bench: {program} is not installed (scripts/install bench)")


def _start(world, names, modes, running):
    """Starts those of NAMES that are installed; says which are not."""
    network = Network(world)
    running.append(network)
    found = {}
    for name in names:
        try:
            if name == OURS:
                found[name] = Sandbox(world, ONE_SECRET)
            else:
                found[name] = getattr(contenders, name)(network)
        except FileNotFoundError as missing:
            print(f"left out: {name}, which needs {missing} (scripts/install bench)", file=sys.stderr)
            continue
        running.append(found[name])
    filters = {}
    if "filter" in modes:
        filters = {NONE: Sandbox(world, NO_SECRET), FOUR: Sandbox(world, FOUR_SECRETS)}
        running += filters.values()
    return found, filters


def _one_mode(mode, found, rounds):
    """name -> samples of all FOUND that can do MODE."""
    able = {}
    for name, contender in found.items():
        try:
            if mode != "idle":  # Which counts what its first run adds.
                contender.run(mode)
            able[name] = lambda contender=contender: contender.run(mode)
        except Unavailable as why:
            print(f"left out: {mode} with {name}, which {why}", file=sys.stderr)
        except RuntimeError as why:
            if name.startswith(OURS):
                raise
            print(f"left out: {mode} with {name}, which fails at it: {why}", file=sys.stderr)
    return interleave(able, rounds)


def collect(names, modes, rounds):
    """mode -> name -> samples."""
    _needs()
    # What is up- and downloaded lies in memory: no disk in the figures.
    if shutil.disk_usage("/dev/shm").free > 8 * BULK:
        tempfile.tempdir = "/dev/shm"
    world = World()
    running = []
    try:
        write_bulk(world.nginx.root / "bulk")
        found, filters = _start(world, names, modes, running)
        results = {mode: _one_mode(mode, found, 1 if mode == "idle" else rounds) for mode in MODES if mode in modes}
        for mode in BULKS if filters else ():
            results["filter-" + mode] = _one_mode(mode, filters, rounds)
    finally:
        for part in reversed(running):
            part.close()
        world.close()
    return results


def medians(results):
    return {mode: {name: {figure: median(samples, figure) for figure in samples[0]}
                   for name, samples in by_name.items()} for mode, by_name in results.items()}


def _title(mode):
    return "filtered: " + MODES[mode[7:]][0] if mode.startswith("filter-") else MODES[mode][0]


def _row(mode, name, figures, reference):
    bulk = mode.split("-")[-1] in BULKS
    cpu = "-" if name == "direct" else f"{figures['cpu']:.3f} s/GB" if bulk else f"{figures['cpu'] * 1e6:.1f} us"
    ratio = "-" if name == "direct" or not reference else f"{figures['cpu'] / reference:.2f}"
    rate = f"{figures['rate']:.3f} GB/s" if bulk else f"{figures['rate']:.0f} /s"
    return [f"{_title(mode)}: {name}", rate, f"{figures['p50']:.0f} us" if "p50" in figures else "", cpu, ratio,
            f"{figures['bytes'] / 1024:.1f} KiB" if "bytes" in figures and name != "direct" else ""]


def show(middle):
    rows = []
    for mode, by_name in middle.items():
        reference = by_name.get("nginx") or by_name.get(NONE)
        rows += [_row(mode, name, figures, reference and reference["cpu"]) for name, figures in by_name.items()]
    table(["", "rate", "p50", "CPU of the middle", "x nginx", "memory each"], rows)


def judge(middle):
    """[{mode, figure, peer, value, bound, met}] for every goal that could be measured."""
    verdicts = []
    for mode, figure, peer, bound in GOALS:
        by_name = middle.get(mode, {})
        if OURS not in by_name or (peer and peer not in by_name):
            continue
        value = by_name[OURS][figure] / (by_name[peer][figure] if peer else 1)
        verdicts.append((mode, figure, peer, value, bound))
    for mode, peer, bound in FILTER_GOALS:
        by_name = middle.get("filter-" + mode)
        if by_name:
            verdicts.append(("filter-" + mode, "cpu", peer, by_name[FOUR]["cpu"] / by_name[peer]["cpu"], bound))
    rows = [[f"{mode}: {figure}" + (f" / {peer}'s" if peer else ""), f"{value:.3g}", f"{bound:.3g}",
             "met" if value <= bound else "MISSED"] for mode, figure, peer, value, bound in verdicts]
    print()
    table(["goal", "measured", "at most", ""], rows)
    return [dict(zip(("mode", "figure", "peer", "value", "bound"), v)) for v in verdicts]


def measure(rounds):
    rounds = rounds or 5
    names = [OURS, "nginx", "squid", "mitmproxy", "direct"]
    modes = os.environ.get("BENCH_MODES", ",".join([*MODES, "filter"])).split(",")
    results = collect(names, modes, rounds)
    print(f"HTTPS with a secret swapped, {rounds} rounds, interleaved, {os.cpu_count()} CPUs for client, gate and server")
    middle = medians(results)
    show(middle)
    return {"rounds": rounds, "medians": middle, "goals": judge(middle), "samples": results}
