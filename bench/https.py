"""HTTPS through the whole gate, with a secret swapped in every request, beside the direct way and
proxies that terminate TLS, set a header and encrypt again: nginx, squid with ssl-bump, mitmproxy
(proxies.py has their configurations, loads.py what the clients do).

All on one machine: client, gate or proxy, and server (nginx) share its CPUs, so the rates say what
the machine does in total; the CPU time is of the warden or of the proxy's processes alone.
"""

import os
import shutil
import sys
import tempfile

import proxies
from contenders import FOUR_SECRETS, NO_SECRET, ONE_SECRET, Network, Sandbox
from goals import Goal, ratio, tell
from harness import World
from loads import BULK, BULKS, IDLE, MODES, Unavailable, write_bulk
from measure import close_all, interleave, medians, progress, table

OURS = "sallyport"
NONE, FOUR = "sallyport, no secret", "sallyport, 4 secrets in bodies"
ALL_MODES = [*MODES, "filter"]

# (what, mode, figure, peer, bound): ours is at most BOUND times the peer's figure.
RATIOS = [
    ("CPU of a request, 32 in flight", "get32", "cpu", "nginx", 0.85),
    ("CPU of a request, 1 in flight", "get1", "cpu", "nginx", 1),
    ("CPU of a request, 32 in flight", "get32", "cpu", "squid", 1 / 2.5),
    ("CPU of a request, 32 in flight", "get32", "cpu", "mitmproxy", 1 / 40),
    ("CPU of a new connection, 1 in flight", "conn1", "cpu", "nginx", 0.6),
    ("CPU of a new connection, 16 in flight", "conn16", "cpu", "nginx", 0.6),
    ("CPU of a download", "down", "cpu", "nginx", 1),
    ("CPU of an upload", "up", "cpu", "nginx", 0.75),
    ("CPU of a request over HTTP/2", "h2", "cpu", "nginx", 1),
]
# (what, mode, figure, divisor, bound, unit): of ours alone.
FIGURES = [
    ("new connection, TLS and GET 1 KiB, p50", "conn1", "p50", 1000, 2, "ms"),
    ("GET 1 KiB, keep-alive, p50", "get1", "p50", 1, 130, "us"),
    (f"memory of an idle TLS connection, of {IDLE}", "idle", "bytes", 1024, 24, "KiB"),
]
# (what, mode): four secrets looked for in the bodies cost at most a tenth of the throughput.
FILTERS = [("time of a download, 4 secrets filtered", "filter-down"),
           ("time of an upload, 4 secrets filtered", "filter-up")]


def _needs():
    missing = [p for p in ("wrk", "h2load", "curl", "python3") if not shutil.which(p)]
    if missing:
        raise SystemExit(f"bench: not installed: {', '.join(missing)} (scripts/install bench)")


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
                found[name] = getattr(proxies, name)(network)
        except FileNotFoundError as missing:
            print(f"left out: {name} is not installed: apt-get install {missing}",
                  file=sys.stderr)
            continue
        except RuntimeError as why:
            if name == OURS:
                raise
            print(f"left out: {name}, which does not start: {why}", file=sys.stderr)
            continue
        running.append(found[name])
    filters = {}
    if "filter" in modes:
        filters = {NONE: Sandbox(world, NO_SECRET), FOUR: Sandbox(world, FOUR_SECRETS)}
        running += filters.values()
    return found, filters


def _one_mode(mode, found, rounds):
    """name -> samples of all FOUND that can do MODE; who fails is left out, and that is said."""

    def drop(name, why):
        print(f"left out: {mode} with {name}, which fails at it: {why}", file=sys.stderr)

    able = {}
    for name, contender in found.items():
        progress(f"{mode}: {name}")
        try:
            if mode != "idle":  # Which counts what its first run adds.
                contender.run(mode, warm_up=True)
        except Unavailable as why:
            print(f"left out: {mode} with {name}, which {why}", file=sys.stderr)
            continue
        except RuntimeError as why:
            print(f"warming up: {mode} with {name}: {why}", file=sys.stderr)
        able[name] = lambda contender=contender: contender.run(mode)
    return interleave(able, rounds, drop=drop)


def collect(names, modes, rounds):
    """mode -> name -> samples."""
    _needs()
    # What is up- and downloaded lies in memory: no disk in the figures.
    if shutil.disk_usage("/dev/shm").free > 8 * BULK:
        tempfile.tempdir = "/dev/shm"
    world = World()
    running, results = [], {}
    try:
        write_bulk(world.nginx.root / "bulk")
        found, filters = _start(world, names, modes, running)
        for mode in MODES:
            if mode in modes:
                results[mode] = _one_mode(mode, found, 1 if mode == "idle" else rounds)
        for mode in BULKS if filters else ():
            results["filter-" + mode] = _one_mode(mode, filters, rounds)
    finally:
        close_all(world, *running)
    return results


def medians_of(results):
    """mode -> name -> figure -> median."""
    return {mode: medians(by_name) for mode, by_name in results.items()}


def _title(mode):
    bare = mode.removeprefix("filter-")
    return "filtered: " + MODES[bare][0] if bare != mode else MODES[mode][0]


def _row(mode, name, figures, reference):
    bulk = mode.split("-")[-1] in BULKS
    none = name == "direct"  # Nobody is in the middle there.
    cpu = f"{figures['cpu']:.3f} s/GB" if bulk else f"{figures['cpu'] * 1e6:.1f} us"
    return [f"{_title(mode)}: {name}",
            f"{figures['rate']:.3f} GB/s" if bulk else f"{figures['rate']:.0f} /s",
            f"{figures['p50']:.0f} us" if "p50" in figures else "",
            "-" if none else cpu,
            "-" if none or not reference else f"{figures['cpu'] / reference:.2f}",
            f"{figures['bytes'] / 1024:.1f} KiB" if "bytes" in figures and not none else ""]


def show(middle):
    rows = []
    for mode, by_name in middle.items():
        reference = by_name.get("nginx") or by_name.get(NONE)
        rows += [_row(mode, name, figures, reference and reference["cpu"])
                 for name, figures in by_name.items()]
    table(["", "rate", "p50", "CPU of the middle", "x nginx", "memory each"], rows)


def judge(middle):
    """The verdicts on all goals whose mode was asked for; those that could not be measured say why."""
    verdicts = []
    for what, mode, figure, peer, bound in RATIOS:
        if mode not in middle:
            continue
        value, why_not = ratio(middle[mode], figure, OURS, peer)
        verdicts.append(Goal(what, bound, f"x {peer}'s").judge(value, why_not))
    for what, mode, figure, divisor, bound, unit in FIGURES:
        if mode not in middle:
            continue
        found = middle[mode].get(OURS)
        value = found[figure] / divisor if found else None
        verdicts.append(Goal(what, bound, unit).judge(value, f"{OURS} was left out"))
    for what, mode in FILTERS:
        if mode not in middle:
            continue
        value, why_not = ratio(middle[mode], "rate", NONE, FOUR)
        verdicts.append(Goal(what, 1 / 0.9, "x of none").judge(value, why_not))
    return verdicts


def headline(rounds):
    print(f"HTTPS with a secret swapped, {rounds} rounds, interleaved, "
          f"{os.cpu_count()} CPUs for client, gate and server")


def options(parser):
    parser.add_argument("--modes", metavar="MODE,…", default=",".join(ALL_MODES),
                        help=f"only these of {','.join(ALL_MODES)}")


def measure(arguments):
    rounds = arguments.rounds or 5
    modes = arguments.modes.split(",")
    unknown = set(modes) - set(ALL_MODES)
    if unknown:
        raise SystemExit(f"bench: no mode {', '.join(sorted(unknown))}; "
                         f"there are {', '.join(ALL_MODES)}")
    results = collect([OURS, "nginx", "squid", "mitmproxy", "direct"], modes, rounds)
    headline(rounds)
    middle = medians_of(results)
    show(middle)
    return {"rounds": rounds, "medians": middle, "goals": tell(judge(middle)), "samples": results}
