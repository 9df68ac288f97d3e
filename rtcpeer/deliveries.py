"""Each event of a session is handed out once: to the oldest waiter that it matches, otherwise to the iteration.

The log beside it keeps everything for any number of readers; here an event is gone once somebody has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self
from weakref import ref

from .audio.readers import News
from .event_log import Entry, EventLog
from .events import EventsMissed
from .said import Said


@dataclass(eq=False, slots=True)
class _Waiter:
    matches: Callable[[Said], bool]
    found: asyncio.Future[tuple[int, Said] | None]
    """``None``: the session is over, and there was none."""


class Deliveries:
    """The events of one log that nobody has taken yet, in their order.

    What the log forgets is forgotten here, too, and the iteration is told how many it missed.

    Args:
        ended: Returns what an iteration raises at the end of the session; ``None``: it just ends.
    """

    def __init__(self, log: EventLog, ended: Callable[[], Exception | None]) -> None:
        self._log = log
        self._ended = ended
        self._waiting: list[_Waiter] = []
        self._news = News()
        self._iteration: ref[Iteration] | None = None
        self._missed = 0
        self._left = {log.start + index: entry.said for index, entry in enumerate(log.entries())}
        log.tap(self._on_entry)

    @property
    def waiters(self) -> int:
        """How many wait for an event."""
        return len(self._waiting)

    def _on_entry(self, entry: Entry) -> None:
        while self._left and (oldest := next(iter(self._left))) < self._log.start:
            del self._left[oldest]
            self._missed += 1
        self._deliver(self._log.end - 1, entry.said)
        if self._log.closed:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.found.done():
                    waiter.found.set_result(None)
            self._news.tell()

    def _deliver(self, position: int, said: Said) -> None:
        for waiter in self._waiting:
            if waiter.found.done():
                continue  # it was cancelled, or has one already, and its task had no turn yet
            try:
                matches = waiter.matches(said)
            except Exception as exc:  # somebody else's code: it is told, and the event is for others
                waiter.found.set_exception(exc)
                continue
            if matches:
                waiter.found.set_result((position, said))
                return
        self._left[position] = said
        self._news.tell()

    async def wait(self, matches: Callable[[Said], bool]) -> Said | None:
        """Take the oldest event that matches and was not handed out, or the next; ``None``: there will be none.

        Raises whatever ``matches`` raises.
        """
        for position, said in self._left.items():
            if matches(said):
                del self._left[position]
                return said
        if self._log.closed:
            return None
        waiter = _Waiter(matches, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            found = await waiter.found
        except asyncio.CancelledError:
            if waiter.found.done() and not waiter.found.cancelled() and waiter.found.exception() is None:
                self._give_back(waiter)
            raise
        finally:
            # Who polls with a timeout must not leave a future each time.
            if waiter in self._waiting:
                self._waiting.remove(waiter)
        return None if found is None else found[1]

    def _give_back(self, waiter: _Waiter) -> None:
        """It was cancelled with an event in its hands: the event is the next one's."""
        found = waiter.found.result()
        if found is not None and found[0] >= self._log.start:
            self._deliver(*found)
            self._left = dict(sorted(self._left.items()))

    def take(self, events: Iterable[Said]) -> None:
        """Hand these out, as far as nobody has them."""
        taken = {id(event) for event in events}
        if taken:
            self._left = {position: said for position, said in self._left.items() if id(said) not in taken}

    def iterate(self) -> Iteration:
        """Return an iterator over what nobody takes before it.

        Raises:
            RuntimeError: there is another one.
        """
        if self._iteration is not None and self._iteration() is not None:
            raise RuntimeError(
                "somebody iterates over this session already, and each event is handed out once: "
                "session.events.read() has all of them for any number of readers"
            )
        iteration = Iteration(self)
        self._iteration = ref(iteration)
        return iteration

    def _forget(self, iteration: Iteration) -> None:
        if self._iteration is not None and self._iteration() is iteration:
            self._iteration = None

    async def _next(self) -> Said:
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                return EventsMissed(missed)
            if self._left:
                return self._left.pop(next(iter(self._left)))
            if self._log.closed:
                raise self._ended() or StopAsyncIteration
            await self._news.next()


class Iteration:
    """One ``async for`` over a session; another may begin where it was left."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Said:
        return await self._deliveries._next()

    async def aclose(self) -> None:
        """Let another begin, as ``contextlib.aclosing`` does; without it this one ends when nobody holds it."""
        self._deliveries._forget(self)
