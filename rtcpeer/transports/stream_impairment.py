"""A network emulator on one link's stream of messages: on what it sends and on what it receives, each for itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ..netem import NetworkConditions, StreamEmulator

LINE_LIMIT = 256 * 1024
"""Bytes under way in one direction before whoever sends has to wait."""

Deliver = Callable[[Any], Awaitable[None]]
"""Sends or takes one message for real."""


class StreamImpairment:
    """Delays, limits and stalls messages as two emulators say.

    Args:
        seed: Of both directions, which differ.

    Raises:
        ConfigurationError: conditions that a stream does not know.
    """

    def __init__(self, conditions: NetworkConditions, seed: int | str, send: Deliver, take: Deliver) -> None:
        self.outgoing = Line(StreamEmulator(conditions, f"{seed}/outgoing"), send)
        self.incoming = Line(StreamEmulator(conditions, f"{seed}/incoming"), take)

    @property
    def conditions(self) -> NetworkConditions:
        """May be set while it runs; what a stream does not know (loss, …) is left out."""
        return self.outgoing.emulator.conditions

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        self.outgoing.emulator.conditions = self.incoming.emulator.conditions = conditions.for_stream()

    def stats(self) -> dict[str, Any] | None:
        """Return what was done in both directions; ``None``: this call was never impaired."""
        if self.conditions.clean and not self.outgoing.emulator.stats.packets_sent:
            return None
        return {
            "conditions": str(self.conditions),
            "outgoing": self.outgoing.emulator.stats.to_dict(),
            "incoming": self.incoming.emulator.stats.to_dict(),
        }

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs; whoever owns this cancels it."""
        return [*self.outgoing.tasks, *self.incoming.tasks]


class Line:
    """One direction: delivers at once, or when the emulator says; always in order."""

    def __init__(self, emulator: StreamEmulator, deliver: Deliver) -> None:
        self.emulator = emulator
        self.tasks: list[asyncio.Task[None]] = []
        self._deliver = deliver
        # Bounded like a socket's buffer: whoever sends waits when LINE_LIMIT bytes are on their way.
        self._waiting: deque[tuple[float, int, Any]] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()

    async def carry(self, size: int, item: Any) -> None:
        """Deliver it, when its time has come; wait while too much is under way."""
        if self.emulator.conditions.clean and not self._waiting:
            await self._deliver(item)
            return
        while self._bytes > LINE_LIMIT:
            self._moved.clear()
            await self._moved.wait()
        self._waiting.append((self.emulator.send(size, asyncio.get_running_loop().time()), size, item))
        self._bytes += size
        if not self.tasks or self.tasks[0].done():
            self.tasks = [asyncio.create_task(self._run(), name="rtcpeer netem")]

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        while self._waiting:
            self._moved.clear()
            await self._moved.wait()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            due, size, item = self._waiting[0]
            if (delay := due - loop.time()) > 0:
                await asyncio.sleep(delay)
            await self._deliver(item)
            self._waiting.popleft()
            self._bytes -= size
            self._moved.set()
