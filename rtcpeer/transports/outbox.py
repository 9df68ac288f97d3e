"""What waits to be sent over a socket, in order: messages, and audio among them, which may be dropped.

It decides what is kept; who takes from it sends.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import ConnectionLost
from ..protocols.base import Message

AUDIO_WAITING = 1.0
"""Seconds of audio that wait to be sent; the oldest is dropped, and counted, for the newest."""
CONTROL_WAITING = 1000
"""Other messages that wait to be sent before we call the far end stuck: none of them is ever dropped."""


class Outbox:
    """One link's: any number put in, one takes out with ``first`` and ``remove``."""

    def __init__(self) -> None:
        self.audio_dropped = 0
        """Messages of audio that waited too long, or were cut off before they left."""
        # Of audio what is older than AUDIO_WAITING is dropped; of the rest nothing is, see CONTROL_WAITING.
        self._queue: deque[tuple[Message, bool]] = deque()
        self._audio = 0
        self._something = asyncio.Event()
        self._emptied = asyncio.Event()

    def put(self, message: Message) -> None:
        """Queue what must arrive. Raises ConnectionLost: too much of it waits."""
        if len(self._queue) - self._audio >= CONTROL_WAITING:
            raise ConnectionLost(f"the far end takes no messages: {CONTROL_WAITING} wait")
        self._append(message, False)

    def put_audio(self, message: Message, duration: float) -> None:
        """Queue so many seconds of audio."""
        self._append(message, True)
        self._audio += 1
        while self._audio * duration > AUDIO_WAITING:
            del self._queue[next(index for index, (_, audio) in enumerate(self._queue) if audio)]
            self._audio -= 1
            self.audio_dropped += 1

    def drop_audio(self) -> None:
        """Forget the audio that waits."""
        self._queue = deque(entry for entry in self._queue if not entry[1])
        self.audio_dropped += self._audio
        self._audio = 0

    async def first(self) -> Message:
        """Return what is to be sent next, once there is something; it stays until it is removed."""
        while not self._queue:
            self._emptied.set()
            self._something.clear()
            await self._something.wait()
        return self._queue[0][0]

    def remove(self, message: Message) -> None:
        """It was sent. Only now, so that an empty queue means that all is; dropping may have taken it meanwhile."""
        if self._queue and self._queue[0][0] is message:
            self._audio -= self._queue.popleft()[1]

    async def emptied(self) -> None:
        """Wait until whoever takes out has found nothing more."""
        await self._emptied.wait()

    def take_rest(self) -> list[Message]:
        """Return all that waits, where nobody takes it out any more."""
        rest = [message for message, _ in self._queue]
        self._queue.clear()
        self._audio = 0
        return rest

    def _append(self, message: Message, audio: bool) -> None:
        self._queue.append((message, audio))
        self._something.set()
        self._emptied.clear()
