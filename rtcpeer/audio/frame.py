"""A piece of audio as a user receives it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from ..formats import AudioFormat


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """What was heard; two frames are equal only if they are the same object (compare ``samples`` for the sound)."""

    samples: NDArray[np.int16]
    """``(samples, channels)``."""
    format: AudioFormat
    t: float
    """Seconds since ``connect()`` at which it was played out."""

    def to_bytes(self) -> bytes:
        """Interleaved, little-endian."""
        return self.samples.astype("<i2", copy=False).tobytes()

    def to_av(self) -> av.AudioFrame:
        """As a packed ``s16`` PyAV frame; its ``pts`` is ``t`` in samples."""
        layout = "mono" if self.format.channels == 1 else "stereo"
        packed = np.ascontiguousarray(self.samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = self.format.sample_rate
        frame.time_base = Fraction(1, self.format.sample_rate)
        frame.pts = round(self.t * self.format.sample_rate)
        return frame
