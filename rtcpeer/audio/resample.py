"""From one rate and number of channels to another, a stream at a time.

swresample keeps the filter's past between calls, so one ``Resampler`` serves one stream and is flushed at its end.
The channels are mapped here rather than there: swresample takes 3 dB off a mono source that becomes stereo.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from ..formats import AudioFormat

_LAYOUTS = {1: "mono", 2: "stereo"}


def map_channels(pcm: NDArray[np.int16], channels: int) -> NDArray[np.int16]:
    """Return ``(samples, channels)``: mono is copied to both sides at 0 dB, stereo is averaged."""
    if pcm.shape[1] == channels:
        return pcm
    if channels == 2:
        return np.repeat(pcm, 2, axis=1)
    return ((pcm[:, :1].astype(np.int32) + pcm[:, 1:]) >> 1).astype(np.int16)


class Resampler:
    """Convert one stream from ``source`` to ``target``; the identity, without a copy, when they are equal.

    About 1 ms stays inside until more is fed or ``flush()`` is called; what has come out by then is as long as what
    went in, to the sample.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        # The filter works on as few channels as either end has: down before it, up after it.
        self._channels = min(source.channels, target.channels)
        self._resampler: av.AudioResampler | None = None

    def feed(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        """Convert ``(samples, source.channels)``; return ``(m, target.channels)``, where ``m`` may be 0."""
        if self.source.sample_rate == self.target.sample_rate:
            return map_channels(pcm, self.target.channels)
        if len(pcm) == 0:
            return np.empty((0, self.target.channels), np.int16)
        layout = _LAYOUTS[self._channels]
        if self._resampler is None:
            self._resampler = av.AudioResampler("s16", layout, self.target.sample_rate)
        narrow = np.ascontiguousarray(map_channels(pcm, self._channels))
        frame = av.AudioFrame.from_ndarray(narrow.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = self.source.sample_rate
        return self._collect(self._resampler.resample(frame))

    def flush(self) -> NDArray[np.int16]:
        """Return what is still inside, ``(m, target.channels)``; what is fed afterwards begins a new stream."""
        resampler, self._resampler = self._resampler, None
        return self._collect(resampler.resample(None) if resampler is not None else [])

    def _collect(self, frames: list[av.AudioFrame]) -> NDArray[np.int16]:
        # to_ndarray() leaves out the padding at the end of a plane; bytes(plane) would hand it on.
        parts = [frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, self._channels) for frame in frames]
        pcm = np.concatenate(parts) if parts else np.empty((0, self._channels), np.int16)
        return map_channels(pcm, self.target.channels)
