"""When packets of a voice call arrive: the traces in ``fixtures/network/``, for tests that replay them.

A trace is one direction of a call in which a packet leaves every 20 ms. ``python tests/traces.py`` writes them anew;
they change only when their conditions do, and ``test_traces.py`` fails when the emulator would make others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtcpeer.netem import Emulator, NetworkConditions

FOLDER = Path(__file__).parents[1] / "fixtures" / "network"
PTIME = 0.02
SIZE = 112
"""Bytes of the UDP payload: 20 ms of Opus at 32 kb/s (80), RTP header (12) and extensions (10), SRTP tag (10)."""

# Name → seconds, and what happens on the way.
CONDITIONS = {
    "clean": (10, "delay=20ms"),
    "loss-5": (20, "loss=5%,delay=20ms"),
    "bursts": (20, "loss=5%,burst=4,delay=20ms"),
    "jitter": (20, "delay=30ms,jitter=20ms"),
    "loss-and-jitter": (20, "loss=5%,delay=30ms,jitter=20ms,duplicate=1%"),
    "outage": (15, "delay=20ms,outage=5s+2s"),
    "wifi": (20, "loss=0.5%,delay=6ms,jitter=5ms,ordered=1,stall=1.3s+180ms/2.7s"),
    "thin-line": (20, "delay=30ms,jitter=5ms,ordered=1,rate=55kbit,queue=12"),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    number: int
    """Of the packet: it was sent ``number × PTIME`` seconds after the first."""
    at: float
    """Seconds after the first packet was sent."""


@dataclass(frozen=True, slots=True)
class Trace:
    name: str
    conditions: str
    seed: int
    packets: int
    """That were sent, lost ones included."""
    arrivals: tuple[Arrival, ...]
    """In the order they come; a packet that comes twice is there twice."""

    @property
    def lost(self) -> list[int]:
        """Numbers of the packets that never come."""
        return sorted(set(range(self.packets)) - {arrival.number for arrival in self.arrivals})


def load_trace(name: str) -> Trace:
    """Read one; ``CONDITIONS`` has the names."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    arrivals = tuple(Arrival(number, microseconds / 1e6) for number, microseconds in found["arrivals"])
    return Trace(name, found["conditions"], found["seed"], found["packets"], arrivals)


def make_trace(name: str, seed: int = 1) -> dict[str, Any]:
    """Make the content of a trace's file: times are whole microseconds."""
    seconds, conditions = CONDITIONS[name]
    packets = round(seconds / PTIME)
    emulator = Emulator(NetworkConditions.parse(conditions), seed)
    arrivals = sorted(
        (round(at * 1e6), number) for number in range(packets) for at in emulator.send(SIZE, number * PTIME)
    )
    return {
        "conditions": conditions,
        "seed": seed,
        "ptime": PTIME,
        "packets": packets,
        "arrivals": [[number, at] for at, number in arrivals],
    }


def write_trace(name: str) -> None:
    """One arrival a line, so that a change can be read."""
    found = make_trace(name)
    arrivals = ",\n".join(json.dumps(arrival) for arrival in found.pop("arrivals"))
    head = json.dumps(found, indent=1).removesuffix("\n}")
    (FOLDER / f"{name}.json").write_text(f'{head},\n "arrivals": [\n{arrivals}\n]}}\n', "utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in CONDITIONS:
        write_trace(each)
