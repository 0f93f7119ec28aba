"""What a decision costs with 10,000 rules loaded, how long they take to load, and the memory of a
policy with all presets: policy_bench. No peers."""

import json
import statistics
import subprocess

from goals import Goal, tell
from measure import table

DECISIONS = {"same_flows": "flow, one of 64 by 10,000 rules", "flow": "flow, any of 10,000 rules",
             "name": "name, any of 10,000 rules", "request": "request on such a flow",
             "callback": "flow by a callback"}


def judge(medians):
    return [Goal("p99 of a flow decided by rule, one of 64, 10,000 rules loaded", 0.3,
                 "us").judge(medians["same_flows_p99_ns"] / 1000),
            Goal("p99 of a flow decided by rule, any of 10,000", 0.3,
                 "us").judge(medians["flow_p99_ns"] / 1000),
            Goal("p99 of a flow decided by a callback", 5,
                 "us").judge(medians["callback_p99_ns"] / 1000),
            Goal("CPU of loading 10,000 rules", 50, "ms").judge(medians["load_ms"]),
            Goal("memory of a policy with every preset", 1 << 20,
                 "bytes").judge(medians["presets_bytes"])]


def measure(arguments):
    program = arguments.bin.parent / "bench" / "policy_bench"
    if not program.exists():
        raise SystemExit(f"bench: no {program}; "
                         "cmake --build --preset release --target policy_bench makes it")
    rounds = arguments.rounds or 7
    told = subprocess.run([program, "--json", str(rounds)], capture_output=True, text=True,
                          check=True)
    samples = json.loads(told.stdout)
    medians = {figure: statistics.median(one) for figure, one in samples.items()}
    print(f"{rounds} rounds, medians; each decision by itself")
    table(["decision", "median ns", "p99 ns"],
          [[words, f"{medians[name + '_median_ns']:.0f}", f"{medians[name + '_p99_ns']:.0f}"]
           for name, words in DECISIONS.items()])
    print(f"loading 10,000 rules: {medians['load_ms']:.0f} ms of CPU; "
          f"every preset: {medians['presets_bytes'] / 1024:.0f} KiB")
    return {"rounds": rounds, "medians": medians, "goals": tell(judge(medians)),
            "samples": samples}
