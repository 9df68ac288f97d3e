"""Runs a ``Watch`` on the event loop: one timer a connection, that fires when there may be something to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..events import Degraded, Recovered
from ..said import Said
from .watchdog import Watch, Watchdog


class Liveness:
    """Asks when it has been quiet, and tells what comes of it.

    Whoever receives sets ``heard``: that is all there is to do for a datagram.

    Args:
        ask: Asks the far end for a sign of life, any sign.
        report: Told ``Degraded`` and ``Recovered``.
        on_lost: Told why, once, and there is no more after it.
    """

    def __init__(
        self,
        watchdog: Watchdog | None,
        ask: Callable[[], None],
        report: Callable[[Said], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._asked = False
        self._watchdog = watchdog
        self._ask = ask
        self._report = report
        self._on_lost = on_lost
        self._watch: Watch | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def heard(self) -> float:
        """When something came last, on the loop's clock."""
        return self._heard

    @heard.setter
    def heard(self, now: float) -> None:
        self._heard = now
        if self._asked:
            # What was waited for is told at once, and how long it took; the next look is up to a second away.
            self._asked = False
            if self._watch is not None:
                self._look()

    def start(self) -> None:
        """It was there a moment ago: begin to watch. Without a watchdog nothing happens."""
        if self._watchdog is not None and self._watch is None:
            self.heard = self._loop.time()
            self._watch = Watch(self._watchdog, self.heard)
            self._look()

    def suspect(self) -> None:
        """Something speaks for its death: ask now."""
        if self._watch is not None:
            self._look(suspicious=True)

    def close(self) -> None:
        """Watch no more; twice is harmless."""
        self._watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, *, suspicious: bool = False) -> None:
        assert self._watch is not None
        if self._timer is not None:
            self._timer.cancel()
        verdict = self._watch.look(self._loop.time(), self.heard, suspicious=suspicious)
        if verdict.news == "lost":
            self.close()
        else:
            self._timer = self._loop.call_at(verdict.next, self._look)
        if verdict.ask:
            self._asked = True
            self._ask()
        match verdict.news:
            case "degraded":
                self._report(
                    Degraded(f"nothing came from the far end for {verdict.silence:.1f} s; it does not answer")
                )
            case "recovered":
                self._report(Recovered(round(verdict.silence, 3)))
            case "lost":
                self._on_lost(f"the far end stopped answering: nothing came for {verdict.silence:.1f} s")
