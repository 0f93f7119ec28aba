"""Runs the tests of one file in order, in one World, and prints a line for each.

A test is a function of the world with a sentence for a name:

    @test("a name without a rule answers a readable 403")
    def _(world): ...

Exit status: 0 all passed, 1 some failed, 77 the file can't run here (CTest: skipped).
Arguments choose the tests whose sentence contains one of them; -l lists.
"""

import os
import sys
import time
import traceback

SLOW = os.environ.get("SALLYPORT_SANITIZED") == "1"

_tests = []


class Skip(Exception):
    """Why a test can't run here."""


def test(sentence):
    def register(function):
        _tests.append((sentence, function))
        return function
    return register


def skip(why):
    raise Skip(why)


def fail(why):
    raise AssertionError(why)


def patience(seconds):
    """A bound on time, wider where everything is slow (sanitizers)."""
    return seconds * 5 if SLOW else seconds


def _run_one(sentence, function, world):
    began = time.monotonic()
    try:
        function(world)
        verdict = "ok  "
    except Skip as why:
        verdict, sentence = "skip", f"{sentence} ({why})"
    except KeyboardInterrupt:
        raise
    except BaseException:  # A failure of any kind is this test's, and the next one runs.
        verdict = "FAIL"
        traceback.print_exc()
    print(f"{verdict} {time.monotonic() - began:6.2f}s  {sentence}", flush=True)
    return verdict


def main(world_factory):
    """Runs the tests registered so far in a World made by WORLD_FACTORY. Does not return."""
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    chosen = [t for t in _tests if not wanted or any(w in t[0] for w in wanted)]
    if "-l" in sys.argv:
        print("\n".join(sentence for sentence, _ in chosen))
        sys.exit(0)
    try:
        world = world_factory()
    except Skip as why:
        print(f"skipped: {why}")
        sys.exit(77)
    try:
        verdicts = [_run_one(sentence, function, world) for sentence, function in chosen]
        broken = world.audit_violations()
        if broken:
            print("\n".join(broken[:20]) + "\nFAIL  every line of the audit logs is as docs/audit.schema.json says")
            verdicts.append("FAIL")
    finally:
        world.close()
    failed = verdicts.count("FAIL")
    print(f"{len(verdicts)} tests, {failed} failed, {verdicts.count('skip')} skipped")
    sys.exit(1 if failed or not verdicts else 0)
