"""PCM that a program has or makes: all at once, pushed as it comes, or pulled from an async iterator."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE, AudioFormat
from .pcm import Pcm, PcmInput, format_of
from .resample import Resampler
from .source import Fifo, Source

logger = logging.getLogger(__name__)

_NOTHING = np.empty((0, 1), np.int16)


class PcmSource(Source):
    """PCM that is all there. A copy is kept; it is resampled as it is read.

    Raises:
        MediaError: not in that format, or bytes that end within a sample.
    """

    def __init__(self, pcm: Pcm, format: AudioFormat, *, loop: bool = False, start: float = 0.0) -> None:
        reader = PcmInput(format, self.name)
        self._pcm = reader.feed(pcm)
        if reader.incomplete:
            raise MediaError(f"{self.name}: the bytes end within a sample: {format} was named")
        self._loop = loop and len(self._pcm) > 0
        self._resampler = Resampler(format, VOICE)
        self._fifo = Fifo()
        self._step = format.frame_samples
        self._position = round(start * format.sample_rate)

    @property
    def name(self) -> str:
        return "pcm"

    def read(self, samples: int) -> NDArray[np.int16] | None:
        while self._fifo.samples < samples and self._position < len(self._pcm):
            block = self._pcm[self._position : self._position + self._step]
            self._position += len(block)
            self._fifo.put(self._resampler.feed(block))
            if self._position >= len(self._pcm):
                if self._loop:
                    self._position = 0
                else:
                    self._fifo.put(self._resampler.flush())
        return self._fifo.take(samples) if self._fifo.samples or samples == 0 else None

    def close(self) -> None:
        self._pcm = self._pcm[:0]
        self._loop = False
        self._fifo.clear()


class QueueSource(Source):
    """What somebody produces while it is played: standard input, a speech synthesis.

    For one event loop. ``max_seconds`` of audio wait inside at most; nothing is dropped, ``write`` waits instead.

    Args:
        format: Of what is written.
        name: What error messages call it.
    """

    def __init__(self, format: AudioFormat = VOICE, *, max_seconds: float = 1.0, name: str = "stream") -> None:
        if not 0 < max_seconds < float("inf"):
            raise ConfigurationError(f"max_seconds={max_seconds}: give a number over 0")
        self.format = format
        self._name = name
        self._limit = max(1, round(max_seconds * VOICE.sample_rate))
        self._input = PcmInput(format, name)
        self._resampler = Resampler(format, VOICE)
        self._fifo = Fifo()
        self._ended = False
        self._room = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    @property
    def buffered(self) -> float:
        """Seconds that were written and not yet read."""
        return self._fifo.samples / VOICE.sample_rate

    async def write(self, pcm: Pcm) -> None:
        """Queue bytes (interleaved little-endian, cut anywhere), an array of int16 or float, or a frame.

        Waits while the queue is full, for as long as nobody plays it: give it a timeout of your own if that may be
        for ever.

        Raises:
            MediaError: not in the format, or ended: by ``end()``, or because the playback was cancelled.
        """
        array = self._input.feed(pcm)
        if len(array) == 0 and not self._ended:
            return
        step = self.format.sample_rate // 10
        for start in range(0, max(1, len(array)), step):
            while self._fifo.samples >= self._limit and not self._ended:
                self._room.clear()
                await self._room.wait()
            if self._ended:
                raise MediaError(f"{self._name} has ended: it plays nothing more")
            self._fifo.put(self._resampler.feed(array[start : start + step]))

    def end(self) -> None:
        """Say that nothing follows; what was written is played to its end."""
        if not self._ended:
            self._ended = True
            self._fifo.put(self._resampler.flush())
            self._room.set()

    def read(self, samples: int) -> NDArray[np.int16] | None:
        pcm = self._fifo.take(samples)
        if self._fifo.samples < self._limit:
            self._room.set()
        return None if len(pcm) == 0 and self._ended and samples > 0 else pcm

    def close(self) -> None:
        self.end()
        self._fifo.clear()


class IteratorSource(Source):
    """What an async iterator or generator yields, pulled by a task of its own that ends with the source.

    A second of audio is fetched ahead, and no more: while that waits, the iterator is not asked. Chunks of any size
    may come at any time. When it runs dry, it is silent until ``prebuffer`` seconds are there again: one gap rather
    than many.

    Args:
        items: Yields bytes, arrays or frames. It is closed at the end, if it can be (``aclose``).
        format: Of bytes and arrays; frames say it themselves.
        stall_timeout: Seconds without anything to play after which it has failed; ``None`` waits for ever.
    """

    def __init__(
        self,
        items: AsyncIterable[Pcm],
        format: AudioFormat | None = None,
        *,
        prebuffer: float = 0.1,
        stall_timeout: float | None = 10.0,
        name: str | None = None,
    ) -> None:
        self._name = name or getattr(items, "__qualname__", None) or type(items).__name__
        self._items = aiter(items)
        self._queue = None if format is None else QueueSource(format, name=self._name)
        self._prebuffer = min(max(prebuffer, 0.0), 1.0)
        self._stall_timeout = stall_timeout
        self._filling = True
        self._starved = 0  # samples that were asked for in vain, in a row
        self._exhausted = self._closed = False
        self._failure: MediaError | None = None
        self._task = asyncio.get_running_loop().create_task(self._pump(), name=f"rtcpeer source {self._name}")

    @property
    def name(self) -> str:
        return self._name

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if self._closed:
            return None
        buffered = self._queue.buffered if self._queue is not None else 0.0
        waited = self._starved / VOICE.sample_rate
        if self._filling and not self._exhausted:
            # A trickle that never reaches the mark is played after twice its time.
            self._filling = buffered < self._prebuffer and (buffered == 0 or waited < 2 * self._prebuffer)
        if self._exhausted or not self._filling:
            pcm = self._queue.read(samples) if self._queue is not None else None
            if pcm is None:
                if self._failure is not None:
                    raise self._failure
                return None
            self._filling = len(pcm) < samples
            if len(pcm):
                self._starved = 0
                return pcm
        self._starved += samples
        if self._stall_timeout is not None and waited >= self._stall_timeout:
            raise MediaError(
                f"{self._name} gave nothing for {self._stall_timeout:g} s "
                "(an IteratorSource with stall_timeout=None waits for ever)"
            )
        return _NOTHING

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._task.done():
                self._task.cancel()
                self.closing = self._task

    async def _pump(self) -> None:
        try:
            async for item in self._items:
                if self._queue is None:
                    found = format_of(item)
                    if found is None:
                        raise MediaError(f"{self._name} needs a format: play(…, format=AudioFormat(24_000))")
                    self._queue = QueueSource(found, name=self._name)
                await self._queue.write(item)
        except asyncio.CancelledError:
            if self._closed:
                raise
            self._failure = MediaError(f"{self._name}: it was cancelled from within")
        except MediaError as exc:
            self._failure = exc
        except Exception as exc:
            # Somebody else's code: whatever it is, the call goes on, and the playback says what it was.
            self._failure = MediaError(f"{self._name}: {type(exc).__name__}: {exc}")
            self._failure.__cause__ = exc
        finally:
            self._exhausted = True
            if self._queue is not None:
                self._queue.end()
            await self._close_items(self._items)

    async def _close_items(self, items: AsyncIterator[Pcm]) -> None:
        aclose = getattr(items, "aclose", None)
        if aclose is not None:
            try:
                await aclose()
            except Exception:
                logger.exception("closing %s failed", self._name)
