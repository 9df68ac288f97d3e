"""What is right and what is not: pure, from what was seen. Figures in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

OPEN_TROUBLE = frozenset({"SignalingError", "IceError", "OpenTimeout", "ConnectionLost", "AuthError", "TokenExpired"})
"""How ``connect()`` may fail when the server is killed meanwhile, or another answers that never heard of us."""

_ALL = "*"
_LOST = frozenset({"lost", "local"})
FAULT_ENDINGS: dict[str, dict[str, frozenset[str]]] = {
    "reject-key": {_ALL: frozenset({"AuthError"})},
    "expired-token": {
        "orga": frozenset({"AuthError"}),
        "orga-ws": frozenset({"TokenExpired"}),
        "orgo": frozenset({"AuthError"}),
        "orbitali": frozenset({"TokenExpired"}),
    },
    "rate-limit": {_ALL: frozenset({"SignalingError"})},
    "agent-missing": dict.fromkeys(("orgo", "orbitali", "soca"), frozenset({"SignalingError"})),
    "agent-inactive": dict.fromkeys(("orgo", "orbitali", "soca"), frozenset({"SignalingError"})),
    "ice-html": {"orga": frozenset({"RemoteProtocolError"})},
    "spent-token": dict.fromkeys(("orga", "orga-ws", "orbitali"), frozenset({"TokenExpired"}))
    | dict.fromkeys(("orgo", "soca"), frozenset({"AuthError"})),
    "calls-422": {
        "orga": frozenset({"SignalingError"}),
        "orga-ws": frozenset({"LocalProtocolError"}),
        "orgo": frozenset({"LocalProtocolError"}),
        "orbitali": frozenset({"ConnectionLost"}),
        "soca": frozenset({"AuthError"}),
    },
    "bad-token": {_ALL: frozenset({"AuthError"})},
    "calls-500": {_ALL: frozenset({"ConnectionLost"}), "orga": frozenset({"SignalingError"})},
    "calls-html": {_ALL: frozenset({"SignalingError"}), "orga": frozenset({"RemoteProtocolError"})},
    "calls-slow": {_ALL: frozenset({"SignalingError"})},
    "stopped-computer": {"orgo": frozenset({"SignalingError"})},
    "capture-failed": {"orgo": frozenset({"ConnectionLost", "lost"})},
    "bad-sdp": {"orga": frozenset({"RemoteProtocolError"})},
    "no-path": {"orga": frozenset({"IceError"})},
    "huge-event": {
        _ALL: _LOST | {"ConnectionLost", "RemoteProtocolError"},
        "soca": frozenset({"ConnectionLost", "RemoteProtocolError"}),
        "orga": frozenset({"local"}),
    },
    "close-channel": {"orga": frozenset({"remote", "local", "ConnectionLost"})},
    "hang-up": {_ALL: frozenset({"remote", "local", "ConnectionLost"})},
    "vanish": {_ALL: _LOST | {"ConnectionLost"}},
}
"""How a call ends while a fault is on: what ``connect()`` raised, or the reason of ``Closed``. Where a fault or a
protocol of it is not named, the call does not mind. Without ``local``, no such call gets through."""

_NO_MATTER = frozenset({"local"})


def fault_endings(fault: str, protocol: str) -> frozenset[str]:
    named = FAULT_ENDINGS.get(fault, {})
    return named.get(protocol, named.get(_ALL, _NO_MATTER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a call met with."""

    protocol: str
    ending: str
    """As planned, see ``schedule.ENDINGS``."""
    throughout: frozenset[str] = frozenset()
    """Faults that were on at its mock from before its beginning until after its opening."""
    sometime: frozenset[str] = frozenset()
    """Faults that were on at its mock at any time of it."""
    killed: bool = False
    """Its mock was killed, or had been and was not back."""
    cut_off: float = 0.0
    """Seconds of the longest time without a network, planned."""
    starved: bool = False
    """The machine was too busy with something else for deadlines to mean anything."""


def allowed_endings(met: Circumstances) -> frozenset[str]:
    """Return how such a call may end."""
    allowed = {"local"}
    if met.ending == "hang-up":
        allowed.add("remote")
    elif met.ending in ("cancel", "cancel-connect"):
        allowed.add("cancelled")
    elif met.ending == "wrong-key":
        allowed = {"AuthError"}
    for fault in met.sometime:
        allowed |= fault_endings(fault, met.protocol)
    if met.killed:
        allowed |= {*OPEN_TROUBLE, "lost", "remote"}
    if met.cut_off > 2 or met.starved:
        # Long enough for a watchdog or a heartbeat to see it, or for a connection not to come up.
        allowed |= {"lost", "IceError", "OpenTimeout", "ConnectionLost", "SignalingError"}
    if met.starved:
        allowed.add("remote")  # the mock gives a caller ten seconds
    if any("local" not in fault_endings(fault, met.protocol) for fault in met.throughout):
        allowed.discard("local")
    return frozenset(allowed)


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through points, least squares."""

    per_call: float
    error: float
    """Standard error of it."""
    points: int

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Slope:
        count = len(points)
        if count < 3:
            return cls(0.0, 0.0, count)
        mean_x = sum(x for x, _ in points) / count
        mean_y = sum(y for _, y in points) / count
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        if not spread:
            return cls(0.0, 0.0, count)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
        left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
        return cls(slope, (left / (count - 2) / spread) ** 0.5, count)


STARVED = 0.25
"""Share of the time that a process wanted a core and there was none, from which on deadlines mean nothing."""

BOUNDS = {"rss": 4096.0, "malloced": 2048.0, "blocks": 20.0}
"""What may be left of a call: bytes, bytes, Python objects. More than that, beyond doubt, is a leak."""
POINTS = {"rss": 10, "malloced": 4, "blocks": 4}
"""With fewer samples nothing is said of it: pages are kept for later before they are used again."""
PAGES_KEPT = 0.25
"""Share by which resident pages may grow all the same: one flood is a new high-water mark, of which malloc and Python
keep pages with something small in each. A leak that hides in it for minutes is found in hours."""


def warm(samples: Sequence[T]) -> Sequence[T]:
    """Leave out the first third: what is loaded on demand, and heaps that find their size."""
    return samples[max(1, len(samples) // 3) :]


def leaks(name: str, samples: Iterable[Mapping[str, float]]) -> list[str]:
    """Say which memory grows with the calls.

    Args:
        samples: Of one process, in order: ``calls`` so far and the figures of ``BOUNDS``.
    """
    rows = warm(list(samples))
    found = []
    for what, bound in BOUNDS.items():
        if len(rows) < POINTS[what]:
            continue
        slope = Slope.through([(row["calls"], row[what]) for row in rows])
        if what == "rss" and rows[-1][what] < (1 + PAGES_KEPT) * rows[0][what]:
            continue
        if slope.per_call - 2 * slope.error > bound:
            found.append(
                f"{name}: {what} grows by {slope.per_call:.0f} ± {slope.error:.0f} a call; {bound:.0f} is the bound"
            )
    return found
