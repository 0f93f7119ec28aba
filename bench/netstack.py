"""What an exchange over TCP costs by how many connections are open, what opening and closing one
costs, and the memory of an idle one: netstack_bench, a stack on a link in memory. What datagrams and
bulk cost there: traffic_bench. No peers."""

import json
import subprocess

from goals import Goal, tell
from measure import table

FIGURES = {"exchange_ns": "ns/exchange, 1 a turn", "batch_ns": "ns/exchange, 32 a turn",
           "open_close_ns": "ns/open and close"}


# figure of traffic_bench -> (what it is, unit)
TRAFFIC = {
    "udp_served_64_ns": ("a datagram of 64 bytes, answered by a service", "ns"),
    "udp_served_1400_ns": ("a datagram of 1,400 bytes, answered by a service", "ns"),
    "udp_relayed_64_ns": ("a datagram of 64 bytes, relayed to a socket on loopback", "ns"),
    "udp_relayed_1400_ns": ("a datagram of 1,400 bytes, relayed to a socket on loopback", "ns"),
    "bulk_up_s_per_gb": ("bulk from the guest", "s/GB"),
    "bulk_down_s_per_gb": ("bulk to the guest", "s/GB"),
}


def _median(samples):
    return sorted(samples)[len(samples) // 2] if samples else None


def _cell(value, base):
    return "-" if value is None else f"{value:.0f} ({value / base:.2f}x)"


def show(rows):
    base = {figure: next(row[figure] for row in rows if row[figure]) for figure in FIGURES}
    table(["open connections", *FIGURES.values(), "bytes/idle"],
          [[row["open"], *(_cell(row[figure], base[figure]) for figure in FIGURES),
            row["idle_bytes"] or "-"] for row in rows])


def show_traffic(medians):
    print()
    table(["CPU of", "", "a second, on one core"],
          [[what, f"{medians[figure]:.3g} {unit}",
            f"{1e9 / medians[figure]:,.0f} datagrams" if unit == "ns" else
            f"{1 / medians[figure]:.1f} GB"] for figure, (what, unit) in TRAFFIC.items()])


def judge(rows):
    first, last = rows[0], rows[-1]
    growth = last["exchange_ns"] / first["exchange_ns"]
    return [Goal(f"CPU of an exchange beside {last['open']} connections", 1.3,
                 "x of one alone").judge(growth),
            Goal("memory of an idle TCP connection", 1024, "bytes").judge(last["idle_bytes"])]


def _run(arguments, name, rounds):
    program = arguments.bin.parent / "bench" / name
    if not program.exists():
        raise SystemExit(f"bench: no {program}; "
                         f"cmake --build --preset release --target {name} makes it")
    told = subprocess.run([program, "--json", str(rounds)], capture_output=True, text=True,
                          check=True)
    return json.loads(told.stdout)


def measure(arguments):
    rounds = arguments.rounds or 7
    samples = _run(arguments, "netstack_bench", rounds)
    traffic = _run(arguments, "traffic_bench", rounds)
    rows = [{**one, **{figure: _median(one[figure]) for figure in FIGURES}} for one in samples]
    print(f"a stack on a link in memory, {rounds} rounds, interleaved, medians of CPU time")
    show(rows)
    traffic_medians = {figure: _median(values) for figure, values in traffic.items()}
    show_traffic(traffic_medians)
    return {"rounds": rounds, "medians": rows, "goals": tell(judge(rows)), "samples": samples,
            "traffic": {"medians": traffic_medians, "samples": traffic}}
