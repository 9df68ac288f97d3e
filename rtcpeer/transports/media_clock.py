"""The media clock: one for all sessions of an event loop.

It ticks every 5 ms and serves a quarter of its sessions each time, so that each has a 20 ms slot of its own: with all
of them in one slot, seventy calls would be 16 ms of work in a row. Deadlines are absolute, on the loop's monotonic
clock; no thread, no task and no timer a session. It starts with the first session and stops with the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..formats import FRAME_DURATION

logger = logging.getLogger(__name__)

SLOTS = 4
SLOT = FRAME_DURATION / SLOTS
# A loop that was blocked longer than this is not caught up with: a burst of a hundred frames helps nobody.
MAX_CATCH_UP = 0.2

Tick = Callable[[int, float], None]
"""Called with the number of the 20 ms frame since the clock started, and the time now (seconds, monotonic)."""

_clocks: WeakKeyDictionary[asyncio.AbstractEventLoop, MediaClock] = WeakKeyDictionary()


def media_clock() -> MediaClock:
    """Return the running loop's clock."""
    loop = asyncio.get_running_loop()
    if loop not in _clocks:
        _clocks[loop] = MediaClock(loop)
    return _clocks[loop]


class MediaClock:
    """Calls each session's tick once every 20 ms, in the session's own slot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._time = loop.time
        self._call_at = loop.call_at
        self._slots: list[list[Tick]] = [[] for _ in range(SLOTS)]
        self._timer: asyncio.TimerHandle | None = None
        self._origin = 0.0
        self._next = 0
        self.frames_skipped = 0
        """20 ms frames that were never served, because the loop was blocked for longer than the catch-up limit."""
        self.worst_lateness = 0.0
        """Seconds by which the latest slot so far was served too late."""

    def add(self, tick: Tick) -> None:
        """Serve ``tick`` from now on, in the least crowded slot."""
        min(self._slots, key=len).append(tick)
        if self._timer is None:
            self._origin = self._time()
            self._next = 0
            self._schedule()

    def remove(self, tick: Tick) -> None:
        """Stop serving ``tick``; unknown ones are ignored, so that closing twice is harmless."""
        for slot in self._slots:
            if tick in slot:
                slot.remove(tick)
        if self._timer is not None and not any(self._slots):
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = self._call_at(self._origin + self._next * SLOT, self._serve)

    def _serve(self) -> None:
        now = self._time()
        late = now - (self._origin + self._next * SLOT)
        self.worst_lateness = max(self.worst_lateness, late)
        if late > MAX_CATCH_UP:
            skipped = int(late / FRAME_DURATION)
            logger.warning("the event loop was blocked for %.0f ms: skipping %d frames", late * 1000, skipped)
            self.frames_skipped += skipped
            self._next += skipped * SLOTS
        while self._origin + self._next * SLOT <= now:
            frame, slot = divmod(self._next, SLOTS)
            self._next += 1
            for tick in tuple(self._slots[slot]):
                try:
                    tick(frame, now)
                except Exception:
                    # One session's bug must not stop the others' audio.
                    logger.exception("a session's tick failed: it is no longer served")
                    self.remove(tick)
        if any(self._slots):
            self._schedule()
