"""The goals: what a measurement must show, told in lines of one form and kept in its JSON."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Goal:
    """WHAT is at most (or at least) BOUND, which is in UNIT."""

    what: str
    bound: float
    unit: str
    at_least: bool = False

    def judge(self, value, why_not=""):
        """The verdict as the JSON has it; VALUE None is for what could not be measured, WHY_NOT
        says why."""
        met = None
        if value is not None:
            met = value >= self.bound if self.at_least else value <= self.bound
        return {"goal": self.what, "sense": "at least" if self.at_least else "at most",
                "bound": self.bound, "unit": self.unit, "value": value, "met": met,
                "why_not": why_not}


def _number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _line(verdict):
    bound = f"{verdict['sense']} {_number(verdict['bound'])} {verdict['unit']}"
    if verdict["value"] is None:
        return f"goal  {verdict['goal']}: {bound}  not measured  ({verdict['why_not']})"
    word = "met" if verdict["met"] else "not met"
    return f"goal  {verdict['goal']}: {bound}  measured {_number(verdict['value'])}  {word}"


def tell(verdicts):
    """Prints VERDICTS, a line each, and returns them."""
    print()
    for verdict in verdicts:
        print(_line(verdict))
    return verdicts


def ratio(middle, figure, ours, peer):
    """(value, why not) of OURS to PEER's FIGURE; MIDDLE is name -> figures, of one mode."""
    for name in (ours, peer):
        if figure not in middle.get(name, {}):
            return None, f"{name} was left out"
    if not middle[peer][figure]:
        return None, f"{peer} shows none"
    return middle[ours][figure] / middle[peer][figure], ""
