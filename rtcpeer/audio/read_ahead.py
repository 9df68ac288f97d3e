"""Files read ahead of their time by a thread: a slow disk costs its own call silence, and other calls nothing.

The thread is one of the event loop's own (``run_in_executor``), and has work for a moment at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..formats import VOICE
from .packets import OpusPacket, PacketSource
from .source import Fifo, Source, checked_read, name_of

T = TypeVar("T")

_BLOCK = VOICE.sample_rate // 2
_AHEAD = 2 * _BLOCK
"""Samples that are read in one go, and that are there when the next go begins: half a second, and one."""
_PACKETS = 50
"""The same for packets, of 20 ms as a rule; twice as many are there when the next go begins."""

_NOTHING = np.empty((0, 1), np.int16)


class _Errand(Generic[T]):
    """Something that one thread at a time does for us, until it is over; belongs to the running loop.

    Args:
        work: Done in a thread; must not raise.
        done: Given what came out, on the loop.
        close: Called once, when nobody works any more.
    """

    def __init__(self, work: Callable[[], T], done: Callable[[T], None], close: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work, self._done, self._close = work, done, close
        self._closed = False
        self.running: asyncio.Future[T] | None = None

    def start(self) -> None:
        """Begin the work unless it is going on."""
        if self.running is None and not self._closed:
            self.running = self._loop.run_in_executor(None, self._work)
            self.running.add_done_callback(self._finish)

    def _finish(self, running: asyncio.Future[T]) -> None:
        self.running = None
        if self._closed:
            self._close()
        elif not running.cancelled():
            self._done(running.result())

    def close(self) -> None:
        """Begin no more; twice is harmless."""
        if not self._closed:
            self._closed = True
            if self.running is None:
                self._close()


def read_block(source: Source, samples: int = _BLOCK) -> tuple[NDArray[np.int16], bool, MediaError | None]:
    """Return up to so many samples of a source that is all there, whether it ended, and why if too early."""
    blocks: list[NDArray[np.int16]] = []
    try:
        while samples > 0:
            block = checked_read(source, samples)
            if block is None:
                return np.concatenate([_NOTHING, *blocks]), True, None
            blocks.append(block)
            samples -= len(block)
    except MediaError as exc:
        return np.concatenate([_NOTHING, *blocks]), True, exc
    return np.concatenate(blocks), False, None


class ReadAhead(Source):
    """Plays a source that reads a disk, such as a ``FileSource``; belongs to the running loop.

    Args:
        first: Its first block, of ``read_block``: whoever opened the file has read it as well.
    """

    def __init__(self, source: Source, first: tuple[NDArray[np.int16], bool, MediaError | None]) -> None:
        self.source = source
        self._fifo = Fifo()
        self._ended = False
        self._failure: MediaError | None = None
        self._errand = _Errand(lambda: read_block(source), self._take, source.close)
        self._take(first)

    @property
    def name(self) -> str:
        return name_of(self.source)

    def _take(self, read: tuple[NDArray[np.int16], bool, MediaError | None]) -> None:
        pcm, self._ended, self._failure = read
        self._fifo.put(pcm)
        self._ask()

    def _ask(self) -> None:
        if not self._ended and self._fifo.samples < _AHEAD:
            self._errand.start()

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if self._fifo.samples == 0 and self._ended and samples > 0:
            if self._failure is not None:
                raise self._failure
            return None
        pcm = self._fifo.take(samples)
        self._ask()
        return pcm

    def close(self) -> None:
        self.closing = self._errand.running
        self._errand.close()
        self._ended, self._failure = True, None
        self._fifo.clear()


class PacketsAhead(PacketSource):
    """Sends the packets of a source that reads a disk, such as an ``OpusFile``; belongs to the running loop."""

    def __init__(self, source: PacketSource) -> None:
        self.source = source
        self._packets: deque[OpusPacket | Exception | None] = deque()  # the end, or a failure, is the last
        self._ended = False
        self._errand = _Errand(self._read, self._take, source.close)
        self._errand.start()

    @property
    def name(self) -> str:
        return name_of(self.source)

    def _read(self) -> list[OpusPacket | Exception | None]:
        found: list[OpusPacket | Exception | None] = []
        try:
            while len(found) < _PACKETS and (not found or found[-1] is not None):
                found.append(self.source.read())
        except Exception as exc:  # told when its turn comes
            found.append(exc)
        return found

    def _take(self, found: list[OpusPacket | Exception | None]) -> None:
        self._packets += found
        self._ended = not isinstance(found[-1], OpusPacket)
        self._ask()

    def _ask(self) -> None:
        if not self._ended and len(self._packets) < 2 * _PACKETS:
            self._errand.start()

    @property
    def stalled(self) -> bool:
        return not self._packets and not self._ended

    def read(self) -> OpusPacket | None:
        found = self._packets.popleft() if self._packets else None
        self._ask()
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self._errand.close()
        self._ended = True
        self._packets.clear()
