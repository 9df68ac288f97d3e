"""The media clock: one for all sessions of an event loop.

It ticks every 5 ms and serves a quarter of its sessions each time, so that each has a 20 ms slot of its own: with all
of them in one slot, seventy calls would be 16 ms of work in a row. Deadlines are absolute, on the loop's monotonic
clock; no thread, no task and no timer a session. It starts with the first session and stops with the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from ..formats import FRAME_DURATION

logger = logging.getLogger(__name__)

SLOTS = 4
SLOT = FRAME_DURATION / SLOTS
# A loop that was blocked longer than this is not caught up with: a burst of a hundred frames helps nobody.
MAX_CATCH_UP = 0.2
# So long at a stretch: then whatever else the loop has to do gets its turn. With more calls than there is CPU for,
# the clock alone would keep it busy: packets would not be read, and no call would come up any more.
MOST_WORK = 0.01
# Later than this, a listener's buffer begins to notice: what `late_slots` counts.
LATE = 0.01
# A loop that was blocked again within this time still is in the same trouble, which was said once.
EPISODE = 10.0

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
        self._frame = 0
        self.frames_skipped = 0
        """20 ms frames that were never served, because the loop was blocked for longer than the catch-up limit."""
        self.worst_lateness = 0.0
        """Seconds by which the latest slot so far was served too late."""
        self.late_slots = 0
        """Slots that were served more than 10 ms too late."""
        self.episodes = 0
        """How often the loop was blocked for longer than the catch-up limit; one that lasts is one."""
        self._rest: deque[Tick] = deque()  # of the slot that is being served
        self._episode_ends = float("-inf")
        self._served = 0.0  # when the last ticks were over
        self._slowest = ("", 0.0)  # of the ticks since it was last on time
        self._part = ("", 0.0)  # of the tick that runs

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
        with suppress(ValueError):
            self._rest.remove(tick)
        if self._timer is not None and not any(self._slots):
            self._timer.cancel()
            self._timer = None

    def blame(self, what: str, seconds: float) -> None:
        """Name what was slow within the tick that runs now, for the warning there may be."""
        if seconds > self._part[1]:
            self._part = (what, seconds)

    def _schedule(self) -> None:
        due = self._origin + self._next * SLOT
        self._timer = self._call_at(min(due, self._time()) if self._rest else due, self._serve)

    def _serve(self) -> None:
        now = self._time()
        deadline = self._origin + self._next * SLOT
        late = now - deadline
        self.worst_lateness = max(self.worst_lateness, late)
        if late > MAX_CATCH_UP:
            self._skip(deadline, now)
        if late <= LATE:
            self._slowest = ("", 0.0)
        self._served = now
        while self._served - now < MOST_WORK:
            if self._rest:
                self._tick(self._rest.popleft(), now)
            elif self._origin + self._next * SLOT <= now:
                self.late_slots += self._origin + self._next * SLOT + LATE < now
                self._frame, slot = divmod(self._next, SLOTS)
                self._next += 1
                self._rest.extend(self._slots[slot])
            else:
                break
            self._served = self._time()
        if any(self._slots):
            self._schedule()

    def _tick(self, tick: Tick, now: float) -> None:
        began = self._time()
        self._part = ("", 0.0)
        try:
            tick(self._frame, now)
        except Exception:
            # One session's bug must not stop the others' audio.
            logger.exception("a session's tick failed: it is no longer served")
            self.remove(tick)
        took = self._time() - began
        if took > self._slowest[1]:
            self._slowest = (self._part[0] if self._part[1] > took / 2 else _name(tick), took)

    def _skip(self, deadline: float, now: float) -> None:
        """Leave out what cannot be caught up with, and warn, once while it goes on."""
        late = now - deadline
        skipped = int(late / FRAME_DURATION)
        self.frames_skipped += skipped
        self._next += skipped * SLOTS
        if now > self._episode_ends:
            self.episodes += 1
            ours = max(0.0, self._served - deadline)
            what, took = self._slowest
            if ours >= late / 2 and what:
                cause = f"{what} took {took * 1000:.0f} ms of it"
            else:
                cause = "something else on this event loop held it up (PYTHONASYNCIODEBUG=1 names it)"
            logger.warning(
                "audio was %.0f ms late: %s; skipping %d frames, and saying no more while this goes on",
                *(late * 1000, cause, skipped),
            )
        self._episode_ends = now + EPISODE


def _name(tick: Tick) -> str:
    owner = getattr(tick, "__self__", None)
    return f"the audio path of {owner!r}" if owner is not None else getattr(tick, "__qualname__", repr(tick))
