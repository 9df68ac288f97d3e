"""The networks of the audio benchmarks, in ``netem``'s words, and what is to be reached on each."""

from __future__ import annotations

from dataclasses import dataclass

from rtcpeer.netem import NetworkConditions

from .speech import RATE, WARM_UP

OUTAGE_BEGINS = 10.0
"""Seconds of the measured speech; it lasts 2 s."""
OUTAGE_ENDS = 12.0


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the table."""

    name: str
    netem: str
    """One direction: media to the receiver. Reports come back unimpaired."""
    goal: float | None
    """PESQ-WB to reach."""
    libwebrtc: float | None
    """PESQ-WB that libwebrtc had in the measurement that the goals were set by."""
    whole: bool = False
    """PESQ of all 20 s at once: the median of four sentences would not see an outage that hits one."""

    @property
    def network(self) -> NetworkConditions:
        return NetworkConditions.parse(self.netem)


_BEGINS = f"{WARM_UP // RATE + round(OUTAGE_BEGINS)}s"

CONDITIONS = (
    Condition("clean", "", 4.4, 4.42),
    Condition("1 % loss", "loss=1%", 4.2, 3.79),
    Condition("5 % loss", "loss=5%", 3.7, 3.20),
    Condition("10 % loss", "loss=10%", 3.5, 2.67),
    Condition("20 % loss", "loss=20%", None, None),
    Condition("5 % in bursts of 3", "loss=5%,burst=3", 3.3, 3.08),
    Condition("30±20 ms, reordering", "delay=30ms,jitter=20ms", 4.4, 4.12),
    Condition("5 % loss, 60±20 ms", "loss=5%,delay=60ms,jitter=20ms", 4.0, 3.61),
    Condition("2 s outage", f"outage={_BEGINS}+{round(OUTAGE_ENDS - OUTAGE_BEGINS)}s", 3.3, 3.13, whole=True),
    # All packets of 300 ms come at once at its end: the shortest burst of jitter there is.
    Condition("300 ms stall", f"stall={_BEGINS}+300ms", None, None, whole=True),
)
