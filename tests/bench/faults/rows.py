"""The rows of the table as data: what is broken, what is measured, the goal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(slots=True)
class Outcome:
    """What became of one call."""

    seconds: float | None
    """``None``: it did not come to that within ``bound``."""
    sees: str = ""
    """The error that its user got, if it was one."""
    told: dict[str, float] = field(default_factory=dict)
    """What else its user was told, each with the seconds since the fault, the first time only."""
    phases: dict[str, float] = field(default_factory=dict)
    """Where the time went, in seconds."""


@dataclass(slots=True)
class Cell:
    """One system under one fault."""

    bound: float
    """Seconds after which nobody waited any longer."""
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """The median; ``None``: half of them, or more, never came to it."""
        times = sorted(float("inf") if each.seconds is None else each.seconds for each in self.outcomes)
        middle = median(times) if times else float("inf")
        return None if middle == float("inf") else middle

    def to_dict(self) -> dict[str, Any]:
        known = [each.seconds for each in self.outcomes if each.seconds is not None]
        return {
            "runs": len(self.outcomes),
            "bound": self.bound,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "least": round(min(known), 3) if known else None,
            "most": round(max(known), 3) if len(known) == len(self.outcomes) and known else None,
            "sees": self.sees,
            "outcomes": [_rounded(each) for each in self.outcomes],
        }

    @property
    def sees(self) -> str:
        """What most of their users got to see, with the median of when."""
        names = [name for name in _order(self.outcomes) if 2 * len(_times(self.outcomes, name)) > len(self.outcomes)]
        told = [f"{name} at {median(_times(self.outcomes, name)):.1f} s" for name in names]
        errors = [each.sees for each in self.outcomes]
        if errors and (error := max(errors, key=errors.count)):
            told.append(error)
        return ", ".join(told)


@dataclass(slots=True)
class Row:
    """One fault, and what became of everybody under it."""

    fault: str
    measured: str
    """Between which two moments the seconds lie."""
    goal: float | None
    cells: dict[str, Cell] = field(default_factory=dict)
    """By the system."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "fault": self.fault,
            "measured": self.measured,
            "goal": self.goal,
            "systems": {system: cell.to_dict() for system, cell in self.cells.items()},
        }


def _times(outcomes: list[Outcome], name: str) -> list[float]:
    return [each.told[name] for each in outcomes if name in each.told]


def _order(outcomes: list[Outcome]) -> list[str]:
    """Return everything anybody was told, in the order of when."""
    names = dict.fromkeys(name for each in outcomes for name in each.told)
    return sorted(names, key=lambda name: median(_times(outcomes, name)))


def _rounded(outcome: Outcome) -> dict[str, Any]:
    found = asdict(outcome)
    if outcome.seconds is not None:
        found["seconds"] = round(outcome.seconds, 4)
    return found
