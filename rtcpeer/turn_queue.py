"""Turns that were heard and wait for somebody to listen to them."""

from __future__ import annotations

import asyncio
from collections import deque

from .turns import Turn


class TurnQueue:
    """Oldest first. Nobody need listen: a turn is up to a minute of audio, and only the latest four are kept."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque(maxlen=4)
        self._waiters: list[asyncio.Future[None]] = []
        self._ended = False

    @property
    def listeners(self) -> int:
        """How many wait for a turn."""
        return len(self._waiters)

    def put(self, turn: Turn) -> None:
        self._turns.append(turn)
        self._wake()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._wake()

    async def get(self) -> Turn | None:
        """Wait for the next; ``None``: there will be none."""
        while not self._turns:
            if self._ended:
                return None
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                # Who polls with a timeout must not leave a future each time.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self._turns.popleft()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
