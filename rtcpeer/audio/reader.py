"""What is heard, for whoever wants to read it: each reader has its own bounded queue and its own format."""

from __future__ import annotations

from collections import deque
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..formats import VOICE, AudioFormat
from .frame import AudioFrame
from .readers import News, Readers
from .resample import Resampler


class Heard:
    """For ``async for``: each iteration is a reader of its own, from now on."""

    def __init__(self) -> None:
        self._readers: Readers[AudioReader] = Readers()
        self._ended = False

    def put(self, pcm: NDArray[np.int16], t: float) -> None:
        """Give every reader ``(960, 1)``, or ``(960, 2)``, at 48 kHz, played out at ``t``."""
        for reader in self._readers:
            reader._put(pcm, t)

    def end(self) -> None:
        """The session is over: readers finish what they hold."""
        self._ended = True
        for reader in self._readers:
            reader._end()

    def in_format(self, audio_format: AudioFormat) -> AudioReader:
        """Return a reader that gives another rate or number of channels: ``in_format(AudioFormat(16_000))``.

        Raises:
            ConfigurationError: that is no ``AudioFormat``.
        """
        if not isinstance(audio_format, AudioFormat):
            raise ConfigurationError(
                f"in_format({audio_format!r}): give an AudioFormat, as in_format(AudioFormat(16_000))"
            )
        reader = AudioReader(audio_format)
        if self._ended:
            reader._end()
        self._readers.add(reader)
        return reader

    def __aiter__(self) -> AudioReader:
        return self.in_format(VOICE)


class AudioReader:
    """20 ms frames in one format. It keeps the newest second: what is older is dropped and counted.

    Tasks may share one: each frame goes to one of them.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._resampler = Resampler(VOICE, audio_format)
        self._rest = np.empty((0, audio_format.channels), np.int16)
        self._frames: deque[AudioFrame] = deque(maxlen=50)
        self._news = News()
        self._ended = False
        self._last = 0.0  # t of what came last
        self.frames_dropped = 0

    def _put(self, pcm: NDArray[np.int16], t: float) -> None:
        self._last = t
        if self._format == VOICE and pcm.shape[1] == 1:
            self._append(pcm.copy(), t)  # a reader may write into what it gets
            self._news.tell()
            return
        if pcm.shape[1] != self._resampler.source.channels:
            rest = self._resampler.flush()
            self._rest = np.concatenate([self._rest, rest])
            self._resampler = Resampler(AudioFormat(VOICE.sample_rate, pcm.shape[1]), self._format)
        self._cut(self._resampler.feed(pcm), t)
        self._news.tell()

    def _cut(self, pcm: NDArray[np.int16], t: float) -> None:
        # A resampler gives a few samples more or less each time; frames are exact.
        self._rest = np.concatenate([self._rest, pcm])
        while len(self._rest) >= self._format.frame_samples:
            frame, self._rest = np.split(self._rest, [self._format.frame_samples])
            self._append(frame, t)

    def _append(self, samples: NDArray[np.int16], t: float) -> None:
        self.frames_dropped += len(self._frames) == self._frames.maxlen
        self._frames.append(AudioFrame(samples, self._format, t))

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            # The last millisecond is in the resampler still, and with it the last frame.
            self._cut(self._resampler.flush(), self._last)
        self._news.tell()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioFrame:
        while not self._frames:
            if self._ended:
                raise StopAsyncIteration
            await self._news.next()
        return self._frames.popleft()
