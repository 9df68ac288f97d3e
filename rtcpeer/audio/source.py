"""What a source of audio is.

A source is read on the event loop by whoever sends, 20 ms at a time, always as ``formats.VOICE``: ``(n, 1)`` int16 at
48 kHz. It never waits: it returns what it has.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError

FADE = 240
"""Samples, 5 ms: a waveform that begins or ends in mid-air clicks; brought up or down in 5 ms, it does not."""
FADE_IN = np.linspace(0.0, 1.0, FADE, endpoint=False, dtype=np.float32)[:, None]


class Source(ABC):
    """A stream of audio that somebody else pulls. To play your own: subclass, and define ``read``."""

    closing: asyncio.Future[Any] | None = None
    """What ``close`` has begun and not yet done, for those who must wait until nothing is left: a task, a device."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @abstractmethod
    def read(self, samples: int) -> NDArray[np.int16] | None:
        """Return up to ``samples`` of ``(n, 1)`` int16 at 48 kHz, at once.

        An empty array means that there is nothing right now, ``None`` that it has ended.

        Raises:
            MediaError: it failed; it is not read again.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let go of what it holds; ``read`` then returns ``None``. May be called twice."""


def name_of(source: object) -> str:
    """Return what error messages call a source that may be somebody else's code."""
    try:
        return str(getattr(source, "name", None) or type(source).__name__)
    except Exception:
        return type(source).__name__


def checked_read(source: Source, samples: int) -> NDArray[np.int16] | None:
    """Read a source that may be somebody else's code.

    Raises:
        MediaError: it raised, or returned something other than ``(n <= samples, 1)`` int16; the message names it.
    """
    try:
        pcm = source.read(samples)
    except MediaError:
        raise
    except Exception as exc:
        raise MediaError(f"{name_of(source)}: {type(exc).__name__}: {exc}") from exc
    if pcm is None:
        return None
    if not isinstance(pcm, np.ndarray):
        raise MediaError(f"{name_of(source)}: read() returned {type(pcm).__name__}, not an array of int16")
    if pcm.dtype != np.int16 or pcm.ndim != 2 or pcm.shape[1] != 1 or len(pcm) > samples:
        raise MediaError(
            f"{name_of(source)}: read({samples}) returned {pcm.dtype} {pcm.shape}, not int16 (n <= {samples}, 1)"
        )
    return pcm


class Fifo:
    """Blocks of any length in, exact lengths out; all ``(n, 1)`` int16. Whoever puts keeps it bounded."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.int16]] = deque()
        self.samples = 0

    def put(self, block: NDArray[np.int16]) -> None:
        if len(block):
            self._blocks.append(block)
            self.samples += len(block)

    def put_back(self, block: NDArray[np.int16]) -> None:
        """Undo a part of ``take``: it is what comes next."""
        if len(block):
            self._blocks.appendleft(block)
            self.samples += len(block)

    def take(self, samples: int) -> NDArray[np.int16]:
        """Return up to ``samples``, as many as there are."""
        taken: list[NDArray[np.int16]] = []
        missing = samples = min(samples, self.samples)
        while missing:
            block = self._blocks[0]
            if len(block) <= missing:
                taken.append(self._blocks.popleft())
            else:
                taken.append(block[:missing])
                self._blocks[0] = block[missing:]
            missing -= len(taken[-1])
        self.samples -= samples
        if len(taken) == 1:
            return taken[0]
        return np.concatenate(taken) if taken else np.empty((0, 1), np.int16)

    def clear(self) -> None:
        self._blocks.clear()
        self.samples = 0
