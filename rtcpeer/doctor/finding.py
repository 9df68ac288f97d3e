"""What a check found, and what that means for a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warn", "fail", "skipped"]
"""``warn``: calls work, and something about them will not be as it should. ``fail``: what a call needs does not work.
``skipped``: not asked for, not there, or not to be had because of another failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table. None of its texts holds a secret."""

    name: str
    """What was checked: stable, see docs/doctor.md."""
    status: Status
    detail: str
    """What was found, for people."""
    advice: str = ""
    """What to do about it; empty where there is nothing to do."""
    target: str = ""
    """Which one, where a name is checked several times: the ICE server's URL."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, JSON types; the names are stable, times are in seconds."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "target": self.target,
            "status": self.status,
            "detail": self.detail,
            "advice": self.advice,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found, in the order of the table."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing that a call needs, or that was asked for, is broken."""
        return all(finding.status != "fail" for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def named(self, name: str) -> list[Finding]:
        """Return the findings of that name."""
        return [finding for finding in self.findings if finding.name == name]

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "findings": [finding.to_dict() for finding in self.findings]}
