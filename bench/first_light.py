"""The short form of https.py: requests, new connections and bulk, against the direct way and nginx
as a proxy."""

from https import OURS, collect, headline, medians_of, show

MODES = ["get1", "get32", "conn16", "down", "up"]


def measure(arguments):
    rounds = arguments.rounds or 5
    results = collect([OURS, "nginx", "direct"], MODES, rounds)
    headline(rounds)
    middle = medians_of(results)
    show(middle)
    return {"rounds": rounds, "medians": middle, "samples": results}
