"""Turns that were heard and wait for somebody to listen to them."""

from __future__ import annotations

from collections import deque

from .audio.readers import News
from .turns import Turn


class TurnQueue:
    """Oldest first. Nobody need listen: a turn is up to a minute of audio, and only the latest four are kept."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque(maxlen=4)
        self._news = News()
        self._ended = False

    @property
    def listeners(self) -> int:
        """How many wait for a turn."""
        return self._news.waiting

    def put(self, turn: Turn) -> None:
        self._turns.append(turn)
        self._news.tell()

    def end(self) -> None:
        """There will be no more."""
        self._ended = True
        self._news.tell()

    async def get(self) -> Turn | None:
        """Wait for the next; ``None``: there will be none."""
        while not self._turns:
            if self._ended:
                return None
            await self._news.wait()
        return self._turns.popleft()
