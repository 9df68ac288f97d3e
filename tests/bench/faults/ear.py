"""When sound came, for the callers in Python; nothing of rtcpeer's is imported here."""

from __future__ import annotations

import time

from quality.orders import tell

AUDIBLE = 328
"""Of 32768: −40 dBFS. The agent's tone has its peak at −12."""
GAP = 0.5
"""Seconds without sound that make the next sound worth telling."""


class Ear:
    """Tells ``sound`` with ``t`` in seconds of the monotonic clock and ``gap`` in seconds, ``None`` for the first."""

    def __init__(self) -> None:
        self._last: float | None = None

    def hear(self, peak: int) -> None:
        """Take the highest sample of a frame that was handed to the user this moment."""
        if peak < AUDIBLE:
            return
        now = time.monotonic()
        gap = None if self._last is None else now - self._last
        self._last = now
        if gap is None or gap > GAP:
            tell("sound", t=now, gap=gap)
