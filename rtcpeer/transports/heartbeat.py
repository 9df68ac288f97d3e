"""A protocol's own heartbeat: pings at its rhythm, how long answers take, and a deadline for any sign of life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..stats import OutboundAudioStats

PONG_DEADLINE = 10.0
"""Seconds for which a far end may leave a ping without any sign of life."""


class Heartbeat:
    """One connection's; whoever receives says so with ``heard``, and with ``answered`` when it was the answer.

    Args:
        interval: Seconds between two pings; ``None``: the protocol has no heartbeat.
        ping: Sends one; what it raises belongs to the task that runs this.
        stats: Where the round-trip time is put.
    """

    def __init__(
        self, interval: float | None, ping: Callable[[], Awaitable[None]], stats: OutboundAudioStats
    ) -> None:
        self._interval = interval
        self._ping = ping
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._sign_of_life = asyncio.Event()
        self._pinged: float | None = None

    def heard(self) -> None:
        """Something came, whatever it was."""
        self._sign_of_life.set()

    def answered(self) -> None:
        """The answer to a ping came."""
        if self._pinged is not None:
            self._stats.round_trip_time = round(self._loop.time() - self._pinged, 4)
            self._pinged = None

    async def run(self) -> None:
        """Ping for ever, or not at all.

        Raises:
            TimeoutError: a ping was left without any sign of life.
        """
        if self._interval is None:
            return
        while True:
            await asyncio.sleep(self._interval)
            self._sign_of_life.clear()
            self._pinged = self._loop.time()
            async with asyncio.timeout(PONG_DEADLINE):
                await self._ping()
                await self._sign_of_life.wait()
