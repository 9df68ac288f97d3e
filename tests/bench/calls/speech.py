"""What every end of every call says, over and over: the 20 s of ``quality.speech``, as PCM or as Opus packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from quality.speech import WARM_UP, material

from rtcpeer.audio.opus import OpusEncoder

FRAME = 960


def speech() -> NDArray[np.int16]:
    """Return ``(samples, 1)`` at 48 kHz."""
    return material()[0][WARM_UP:]


def payloads() -> list[bytes]:
    """Return it as Opus packets of 20 ms: mono, 32 kb/s, complexity 9."""
    pcm, encoder = speech(), OpusEncoder(bitrate=32_000, complexity=9)
    return [encoder.encode(pcm[at : at + FRAME]) for at in range(0, len(pcm), FRAME)]
