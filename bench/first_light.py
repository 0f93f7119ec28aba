"""The short form of https.py: requests, new connections and bulk, against the direct way and nginx as a proxy."""

import os

from https import OURS, collect, medians, show

MODES = ["get1", "get32", "conn16", "down", "up"]


def measure(rounds):
    rounds = rounds or 5
    results = collect([OURS, "nginx", "direct"], MODES, rounds)
    print(f"HTTPS with a secret swapped, {rounds} rounds, interleaved, {os.cpu_count()} CPUs for client, gate and server")
    show(medians(results))
    return {"rounds": rounds, "samples": results}
