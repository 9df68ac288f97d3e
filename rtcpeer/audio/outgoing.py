"""What we say: one stream that never ends, whatever is or is not being played.

Sources follow one another without a gap; when there is none, silence goes out. Others may be mixed on top. Every
20 ms one frame is taken. What begins and ends by itself is sent to the sample; only where a waveform is cut in
mid-air (cancelled, failed, run dry) it is brought down, and up again, in 5 ms.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE
from .level import SILENCE
from .source import FADE, FADE_IN, Source, checked_read, name_of

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 2.0
_SLOW = 0.01

# Playbacks are objects the user holds, added one call at a time: more than this is a mistake.
_MOST_WAITING = 100
_MOST_MIXED = 16


class Playback:
    """One source on its way out; awaiting it waits until its last sample was really sent."""

    def __init__(self, source: Source, outgoing: Outgoing, gain: float = 0.0) -> None:
        self.source = source
        self._outgoing = outgoing
        self._samples = 0
        self._unsent = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A playback whose failure nobody awaits must not warn at exit: the session reports it as an event as well.
        self._done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._cancelling = False
        self.gain = gain
        self._factor = self._target
        self._last = 0.0  # the sample that was sent last
        self._paused = False  # it ran dry in mid-air, and was brought down

    @property
    def played(self) -> float:
        """Seconds of it that were really sent."""
        return self._samples / VOICE.sample_rate

    @property
    def unsent(self) -> float:
        """Seconds of it that went by while there was no connection: nobody heard them."""
        return self._unsent / VOICE.sample_rate

    @property
    def done(self) -> bool:
        """It was played to its end, was cancelled or failed."""
        return self._done.done()

    @property
    def gain(self) -> float:
        """dB; 0 leaves it as it is, ``-math.inf`` mutes. A change takes 20 ms, so that it does not click.

        Raises:
            ConfigurationError: set to NaN, or to more than 40.
        """
        return self._gain

    @gain.setter
    def gain(self, gain: float) -> None:
        if not gain <= 40:
            raise ConfigurationError(f"a gain of {gain} dB: give one of 40 or less")
        self._gain = gain
        self._target = 10 ** (gain / 20) if gain > -math.inf else 0.0

    def cancel(self) -> None:
        """Stop with the next frame, faded out in 5 ms, and await that; what has not begun is never heard."""
        if self._samples == 0:
            self._outgoing._finish(self)
        self._cancelling = True

    def __await__(self) -> Generator[None, None, None]:
        """Wait for the end.

        Raises:
            MediaError: the source failed half-way.
        """
        yield from asyncio.shield(self._done).__await__()

    def _shape(self, pcm: NDArray[np.int16], ramp: NDArray[np.float32] | None) -> NDArray[np.int16]:
        """Apply the gain, and ``ramp`` to the front."""
        if ramp is not None or self._factor != self._target or self._factor != 1.0:
            shaped = pcm * np.float32(self._target)
            if self._factor != self._target:
                shaped = pcm * np.linspace(self._factor, self._target, len(pcm), dtype=np.float32)[:, None]
                self._factor = self._target
            if ramp is not None:
                shaped[: len(ramp)] *= ramp[: len(shaped)]
            pcm = np.clip(np.rint(shaped), -32768, 32767).astype(np.int16)
        self._last = float(pcm[-1, 0])
        return pcm

    def _decay(self, samples: int) -> NDArray[np.int16]:
        """Bring the sample that was sent last down to nothing: ``(m <= samples, 1)``."""
        if self._last == 0.0:
            return SILENCE[:0]
        tail = np.rint(self._last * np.linspace(1.0, 0.0, min(samples, FADE) + 2)[1:-1])
        self._last = 0.0
        return tail.astype(np.int16)[:, None]


class Outgoing:
    """The playbacks, read frame by frame by the media clock.

    Args:
        on_slow: Told the name of a source whose ``read`` took more than 10 ms, and how many seconds it took.
    """

    def __init__(self, on_slow: Callable[[str, float], None] | None = None) -> None:
        self._on_slow = on_slow
        self._queue: deque[Playback] = deque()
        self._mixed: list[Playback] = []
        self._closing: set[asyncio.Future[Any]] = set()
        self._sending = True
        self.underruns = 0
        """Frames in which a source had nothing ready and silence went out instead."""
        self.failures: deque[MediaError] = deque(maxlen=10)
        """What went wrong in sources and was not reported yet; the session takes them out."""

    def play(self, source: Source, *, mix: bool = False, gain: float = 0.0) -> Playback:
        """Queue a source behind what is playing, or ``mix`` it on top, from the next frame on.

        Args:
            gain: dB.

        Raises:
            ConfigurationError: not a gain.
            MediaError: a hundred sources are waiting already, or sixteen are being mixed.
        """
        if mix and len(self._mixed) >= _MOST_MIXED:
            raise MediaError(f"{name_of(source)}: {_MOST_MIXED} sources are being mixed already")
        if not mix and len(self._queue) >= _MOST_WAITING:
            raise MediaError(f"{name_of(source)}: {_MOST_WAITING} sources are waiting to be played already")
        playback = Playback(source, self, gain)
        (self._mixed if mix else self._queue).append(playback)
        return playback

    @property
    def idle(self) -> bool:
        """Nothing is playing or queued."""
        return not self._queue and not self._mixed

    def cancel_all(self) -> None:
        """Stop what plays, with a fade, and forget what waits."""
        for playback in (*self._queue, *self._mixed):
            playback.cancel()

    def read(self) -> NDArray[np.int16]:
        """Return the next 20 ms, ``(960, 1)``: always, whatever the sources do."""
        if not self._queue and not self._mixed:
            return SILENCE
        frame = SILENCE.copy()
        filled = 0
        while self._queue and filled < len(frame):
            filled += self._fill(self._queue[0], frame[filled:])
        if self._mixed:
            total = frame.astype(np.int32)
            for playback in tuple(self._mixed):
                part = SILENCE.copy()
                self._fill(playback, part)
                total += part
            frame = np.clip(total, -32768, 32767).astype(np.int16)
        return frame

    def skip(self) -> bool:
        """Let 20 ms go by that nobody sends: the sources go on. Return whether there was anything."""
        if self.idle:
            return False
        self._sending = False
        self.read()
        self._sending = True
        return True

    def _fill(self, playback: Playback, out: NDArray[np.int16]) -> int:
        """Put what a playback has at the front of ``out``; return how much of it is taken.

        All of it, if the source runs dry: what follows in the queue waits. Less, if the playback is over.
        """
        filled = 0
        while filled < len(out):
            wanted = len(out) - filled
            cancelling = playback._cancelling
            error: MediaError | None = None
            began = monotonic()
            try:
                chunk = checked_read(playback.source, min(wanted, FADE) if cancelling else wanted)
            except MediaError as exc:
                chunk, error = None, exc
                self.failures.append(exc)
            if (took := monotonic() - began) > _SLOW and self._on_slow is not None:
                self._on_slow(f"the source {name_of(playback.source)}", took)
            if chunk is not None and len(chunk):
                ramp = FADE_IN if playback._paused else None
                if cancelling:
                    # The whole way down, in what there is of it.
                    ramp = np.linspace(1.0, 0.0, len(chunk), dtype=np.float32)[:, None]
                out[filled : filled + len(chunk)] = playback._shape(chunk, ramp)
                playback._paused = False
                if self._sending:
                    playback._samples += len(chunk)
                else:
                    playback._unsent += len(chunk)
                filled += len(chunk)
            if cancelling or chunk is None:
                if error is not None:
                    filled += self._bring_down(playback, out[filled:])
                self._finish(playback, error)
                return filled
            if len(chunk) == 0:
                self.underruns += 1
                self._bring_down(playback, out[filled:])
                playback._paused = playback._samples > 0
                return len(out)
        return filled

    def _bring_down(self, playback: Playback, out: NDArray[np.int16]) -> int:
        tail = playback._decay(len(out))
        out[: len(tail)] = tail
        return len(tail)

    def close(self) -> None:
        """End every playback where it is."""
        for playback in (*self._queue, *self._mixed):
            self._finish(playback)

    async def wait_closed(self) -> None:
        """Wait, two seconds at most, until nothing is left of the sources that are over: no task, no device."""
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=_CLOSE_TIMEOUT)
            for each in late:
                logger.warning("a source does not end: %r", each)

    def _finish(self, playback: Playback, error: MediaError | None = None) -> None:
        if playback in self._mixed:
            self._mixed.remove(playback)
        elif playback in self._queue:
            self._queue.remove(playback)
        else:
            return
        try:
            playback.source.close()
            closing = playback.source.closing
            if closing is not None and not closing.done():
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        except Exception:  # a source may be anybody's code, and it is over all the same
            logger.exception("closing %s failed", name_of(playback.source))
        if playback._done.done():
            return
        if error is None:
            playback._done.set_result(None)
        else:
            playback._done.set_exception(error)
