"""Everything an end-to-end test stands on; tests/e2e/README.md tells what lies where."""

from .runner import SLOW, fail, main, patience, skip, test
from .sandbox import PLAIN, ROOT, Result, leftovers
from .world import World

__all__ = ["PLAIN", "ROOT", "Result", "SLOW", "World", "fail", "leftovers", "main", "patience",
           "skip", "test"]
