"""What we say: one stream that never ends, whatever is or is not being played.

Sources follow one another without a gap; when there is none, silence goes out. Every 20 ms one frame is taken.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..formats import VOICE
from .sources import Source, checked_read

logger = logging.getLogger(__name__)

_SILENCE = np.zeros((VOICE.frame_samples, 1), np.int16)
_SILENCE.flags.writeable = False
# A waveform cut in mid-air clicks; 5 ms are enough to bring it down unheard.
_FADE = np.linspace(1.0, 0.0, VOICE.sample_rate // 200, dtype=np.float32)[:, None]


class Playback:
    """One source on its way out; awaiting it waits until its last sample was really sent."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._samples = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A playback whose failure nobody awaits must not warn at exit: the session reports it as an event as well.
        self._done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._cancelling = False

    @property
    def played(self) -> float:
        """Seconds of it that were really sent."""
        return self._samples / VOICE.sample_rate

    @property
    def done(self) -> bool:
        return self._done.done()

    def cancel(self) -> None:
        """Stop after the current frame, with a short fade; awaiting it then returns at once."""
        self._cancelling = True

    def __await__(self) -> Generator[None, None, None]:
        """Wait for the end.

        Raises:
            MediaError: the source failed half-way.
        """
        yield from asyncio.shield(self._done).__await__()


class Outgoing:
    """The queue of playbacks, read frame by frame by the media clock."""

    def __init__(self) -> None:
        # Playbacks are objects the user holds, added one call at a time: a hundred queued ones are a mistake.
        self._queue: deque[Playback] = deque()
        self.underruns = 0
        """Frames in which a source had nothing ready and silence went out instead."""
        self.failures: deque[MediaError] = deque(maxlen=10)
        """What went wrong in sources and was not reported yet; the session takes them out."""

    def play(self, source: Source) -> Playback:
        """Queue a source behind what is playing.

        Raises:
            MediaError: a hundred sources are waiting already.
        """
        if len(self._queue) >= 100:
            raise MediaError(f"{source.name}: 100 sources are waiting to be played already")
        playback = Playback(source)
        self._queue.append(playback)
        return playback

    @property
    def idle(self) -> bool:
        """Nothing is playing or queued."""
        return not self._queue

    def cancel_all(self) -> None:
        """Stop what plays, with a fade, and forget what waits."""
        for playback in self._queue:
            playback.cancel()

    def read(self) -> NDArray[np.int16]:
        """Return the next 20 ms, ``(960, 1)``: always, whatever the sources do."""
        if not self._queue:
            return _SILENCE
        frame = _SILENCE.copy()
        filled = 0
        while self._queue and filled < len(frame):
            playback = self._queue[0]
            if playback._cancelling and playback._samples == 0:
                self._finish(playback)
                continue
            try:
                chunk = checked_read(playback.source, len(frame) - filled)
            except MediaError as exc:
                self._finish(playback, exc)
                self.failures.append(exc)
                continue
            if chunk is None:
                self._finish(playback)
                continue
            frame[filled : filled + len(chunk)] = chunk
            playback._samples += len(chunk)
            if playback._cancelling:
                end = min(filled + len(chunk), filled + len(_FADE))
                fading = frame[filled:end]
                frame[filled:end] = (fading * _FADE[: len(fading)]).astype(np.int16)
                frame[end:] = 0
                self._finish(playback)
                filled = len(frame)
            elif len(chunk) == 0:
                self.underruns += 1
                break
            filled += len(chunk)
        return frame

    def close(self) -> None:
        """End every playback where it is."""
        while self._queue:
            self._finish(self._queue[0])

    def _finish(self, playback: Playback, error: MediaError | None = None) -> None:
        self._queue.remove(playback)
        try:
            playback.source.close()
        except Exception:
            logger.exception("closing %s failed", playback.source.name)
        if playback._done.done():
            return
        if error is None:
            playback._done.set_result(None)
        else:
            playback._done.set_exception(error)
