"""What all measurements share: interleaved rounds, medians, and the CPU time of processes."""

import contextlib
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time


def interleave(contenders, rounds, gap=0.05, drop=None):
    """Runs each of CONTENDERS (name -> function that returns a dict of figures) once a round, in
    turn, so that whatever else the machine does falls on all of them. Returns name -> list of
    dicts. One that raises RuntimeError ends the measurement, unless DROP(name, error) returns:
    then it is left out."""
    results = {name: [] for name in contenders}
    for i in range(rounds):
        order = list(results)
        for name in order[i % len(order):] + order[:i % len(order)] if order else ():
            try:
                results[name].append(contenders[name]())
            except RuntimeError as error:
                if not drop:
                    raise
                drop(name, error)
                del results[name]
            time.sleep(gap)
        progress(f"round {i + 1} of {rounds}")
    progress("")
    return results


def close_all(*parts):
    """Closes each of PARTS, the last one first, also where closing another fails."""
    with contextlib.ExitStack() as closing:
        for part in parts:
            closing.callback(part.close)


def progress(words):
    """Says on a terminal how far we are; nothing takes it back."""
    if sys.stderr.isatty():
        print("\r" + " " * 30 + "\r" + words, end="", file=sys.stderr, flush=True)


def medians(by_name):
    """name -> figure -> median, of name -> samples."""
    return {name: {figure: median(samples, figure) for figure in samples[0]}
            for name, samples in by_name.items() if samples}


def median(samples, key):
    return statistics.median(sample[key] for sample in samples)


def quantile(samples, key, part):
    ordered = sorted(sample[key] for sample in samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def spend(argv, **popen):
    """Runs ARGV to its end. Returns wall time, and the CPU time of it and of every process it left
    for us to reap (the caller is a subreaper), in seconds; and the exit code."""
    popen = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
             "stderr": subprocess.DEVNULL, **popen}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(argv, **popen)
    _, status = os.waitpid(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    while True:  # The late: their work belongs to this run, though nobody waits for it.
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "code": process.returncode}


def cpu_seconds(pids):
    """The time on a CPU of all threads of PIDS so far. RuntimeError if one of these has ended."""
    total = 0
    for pid in pids:
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError as gone:
            raise RuntimeError(f"process {pid} has ended") from gone
    return total / 1e9


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * w for w in widths], *rows]:
        print("  ".join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths))))
