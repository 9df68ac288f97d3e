"""How loud a frame is: measured once, for the voice detector, the level in the RTP header and the statistics."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE

SILENCE = np.zeros((VOICE.frame_samples, 1), np.int16)
"""20 ms, and read-only: whoever is silent hands on this very array, so that nobody needs to measure it."""
SILENCE.flags.writeable = False

_FULL_SCALE = 32768.0
_ONES = np.ones(VOICE.frame_samples, np.float32)


LEAST = _FULL_SCALE**-2
"""Power of a sample that is 1, the quietest that there is."""


class Level(NamedTuple):
    """Of samples from -1.0 to 1.0."""

    power: float
    """Mean of the squares: 1.0 is 0 dBov."""
    offset: float
    """Mean: the DC offset that a bad microphone has."""

    @property
    def below_full_scale(self) -> int:
        """−dBov in whole decibels, 0 to 127 (RFC 6464, 3)."""
        return min(127, max(0, round(-10 * math.log10(self.power)))) if self.power >= LEAST else 127


SILENT = Level(0.0, 0.0)


def level_of(pcm: NDArray[np.int16]) -> Level:
    """Measure ``(samples, channels)``; an empty array is silent."""
    samples = pcm.size
    if pcm is SILENCE or not samples:
        return SILENT
    x = pcm.astype(np.float32).ravel()
    # A product with ones is a sum, at a third of what it costs to call ``sum``.
    ones = _ONES if samples == len(_ONES) else np.ones(samples, np.float32)
    return Level(float(x.dot(x)) / (samples * _FULL_SCALE**2), float(x.dot(ones)) / (samples * _FULL_SCALE))
