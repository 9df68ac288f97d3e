"""Something like a voice, for checks that need one to work on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE


def voice(seconds: float) -> list[NDArray[np.int16]]:
    """Return harmonics of a gliding pitch, in syllables, with some breath: frames of 20 ms, ``(960, 1)``, 48 kHz."""
    t = np.arange(int(seconds * VOICE.sample_rate)) / VOICE.sample_rate
    phase = 2 * np.pi * (140 * t - 3 * np.cos(2 * np.pi * 0.7 * t))
    # The weights fall as a voice's do, by some 12 dB an octave from the second harmonic on.
    tones = sum(np.sin(number * phase) / max(1.0, number / 2) ** 2 for number in range(1, 24))
    breath = 0.05 * np.random.default_rng(0).standard_normal(len(t))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.4, 0, 1)
    pcm = np.rint(5000 * (tones + breath) * syllables).astype(np.int16)
    count = len(pcm) // VOICE.frame_samples
    return list(pcm[: count * VOICE.frame_samples].reshape(count, VOICE.frame_samples, 1))
