"""What an exchange over TCP costs by how many connections are open, what opening and closing one
costs, and the memory of an idle one: netstack_bench, a stack on a link in memory. No peers."""

import json
import subprocess

from goals import Goal, tell
from measure import table

FIGURES = {"exchange_ns": "ns/exchange, 1 a turn", "batch_ns": "ns/exchange, 32 a turn",
           "open_close_ns": "ns/open and close"}


def _median(samples):
    return sorted(samples)[len(samples) // 2] if samples else None


def _cell(value, base):
    return "-" if value is None else f"{value:.0f} ({value / base:.2f}x)"


def show(rows):
    base = {figure: next(row[figure] for row in rows if row[figure]) for figure in FIGURES}
    table(["open connections", *FIGURES.values(), "bytes/idle"],
          [[row["open"], *(_cell(row[figure], base[figure]) for figure in FIGURES),
            row["idle_bytes"] or "-"] for row in rows])


def judge(rows):
    first, last = rows[0], rows[-1]
    growth = last["exchange_ns"] / first["exchange_ns"]
    return [Goal(f"CPU of an exchange beside {last['open']} connections", 1.3,
                 "x of one alone").judge(growth),
            Goal("memory of an idle TCP connection", 1024, "bytes").judge(last["idle_bytes"])]


def measure(arguments):
    program = arguments.bin.parent / "bench" / "netstack_bench"
    if not program.exists():
        raise SystemExit(f"bench: no {program}; "
                         "cmake --build --preset release --target netstack_bench makes it")
    rounds = arguments.rounds or 7
    told = subprocess.run([program, "--json", str(rounds)], capture_output=True, text=True,
                          check=True)
    samples = json.loads(told.stdout)
    rows = [{**one, **{figure: _median(one[figure]) for figure in FIGURES}} for one in samples]
    print(f"a stack on a link in memory, {rounds} rounds, interleaved, medians of CPU time")
    show(rows)
    return {"rounds": rounds, "medians": rows, "goals": tell(judge(rows)), "samples": samples}
