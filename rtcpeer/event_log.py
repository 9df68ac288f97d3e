"""What happened in a session, in order, kept for readers that come and go.

The log is bounded and each reader has a cursor of its own, so that iterating, listening and recording do not eat one
another's events. A reader that falls behind what is kept is told how many events it missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice

from .events import Closed, EventsMissed
from .said import Said

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing said, and when."""

    t: float
    """Seconds since ``connect()``."""
    said: Said


class EventLog:
    """Append from one place, read from many; belongs to one event loop.

    Args:
        limit: Entries kept.
        limit_characters: Of all the entries kept, as written down: a far end that sends a megabyte of nonsense again
            and again must not fill the memory.
    """

    def __init__(self, *, limit: int = 10_000, limit_characters: int = 16_000_000) -> None:
        # The oldest goes first: a reader that slow has lost the thread anyway, and is told so.
        self._entries: deque[Entry] = deque()
        self._sizes: deque[int] = deque()
        self._size = 0
        self._limit = limit
        self._limit_characters = limit_characters
        self._first = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._taps: list[Callable[[Entry], None]] = []
        self.closed = False

    @property
    def start(self) -> int:
        """The position of the oldest entry kept, counted from the first ever."""
        return self._first

    @property
    def end(self) -> int:
        """The position after the last entry, counted from the first ever."""
        return self._first + len(self._entries)

    def append(self, t: float, said: Said) -> None:
        """Add an entry and wake the readers; ``Closed`` is the last one, what comes after it is ignored."""
        if self.closed:
            return
        entry = Entry(t, said)
        self._entries.append(entry)
        self._sizes.append(len(repr(said)))
        self._size += self._sizes[-1]
        while len(self._entries) > self._limit or (self._size > self._limit_characters and len(self._entries) > 1):
            self._entries.popleft()
            self._size -= self._sizes.popleft()
            self._first += 1
        self.closed = isinstance(said, Closed)
        for tap in tuple(self._taps):
            try:
                tap(entry)
            except Exception:  # somebody else's code: what happened has happened, and others want to know
                self._taps.remove(tap)
                logger.exception("the listener %s failed: it is called no more", getattr(tap, "__qualname__", tap))
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def tap(self, listener: Callable[[Entry], None]) -> None:
        """Call ``listener`` with every entry as it is appended; one that raises is logged, and called no more."""
        self._taps.append(listener)

    def entries(self, start: int = 0) -> list[Entry]:
        """Return what is kept from position ``start`` on."""
        return list(islice(self._entries, max(0, start - self._first), None))

    async def read(self, start: int | None = None) -> AsyncIterator[Entry]:
        """Yield entries from ``start`` (``None``: from the oldest kept) until the session is closed."""
        cursor = self._first if start is None else start
        while True:
            if cursor < self._first:
                missed = self._first - cursor
                cursor = self._first
                yield Entry(self._entries[0].t, EventsMissed(missed))
            elif cursor < self.end:
                entry = self._entries[cursor - self._first]
                cursor += 1
                yield entry
            elif self.closed:
                return
            else:
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                try:
                    await waiter
                finally:
                    # Who polls with a timeout must not leave a future each time.
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
