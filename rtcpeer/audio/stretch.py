"""Shorter or longer by one period of the voice, without a change of pitch or a click (WSOLA; NetEQ does the same).

Arrays are ``(samples, 1)`` int16 at 48 kHz. A period is 2.5 to 15 ms long; the longest that can be found is half of
what there is to look at, so 20 ms do for most voices and 30 ms for all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHORTEST = 120
LONGEST = 720

# The search runs at 6 kHz, then once more around what it found.
_STEP = 8
# Below -50 dBFS any place is good: nobody hears the seam.
_QUIET = (32768 * 10 ** (-50 / 20)) ** 2
_LIKE = 0.85
_MEAN = np.full(_STEP, 1 / _STEP, np.float32)


def _cross_fade(old: NDArray[np.int16], new: NDArray[np.int16]) -> NDArray[np.int16]:
    ramp = np.linspace(0.0, 1.0, len(old), endpoint=False, dtype=np.float32)[:, None]
    faded: NDArray[np.int16] = np.rint(old * (1.0 - ramp) + new * ramp).astype(np.int16)
    return faded


def find_period(pcm: NDArray[np.int16], longest: int = LONGEST, *, like: float = _LIKE) -> int | None:
    """Return the lag, from ``SHORTEST`` to ``longest`` samples, at which the sound repeats itself.

    ``None``: it is neither periodic (normalised correlation of at least ``like``) nor quiet. For a quiet sound it is
    ``longest``.
    """
    window = min(len(pcm) // 2, LONGEST) // _STEP * _STEP
    longest = min(longest, window)
    if longest < SHORTEST:
        return None
    x = pcm[: 2 * window, 0].astype(np.float32)
    if float(x @ x) / len(x) < _QUIET:
        return longest
    coarse = x.reshape(-1, _STEP) @ _MEAN
    lag = _best_lag(coarse, SHORTEST // _STEP, longest // _STEP, window // _STEP)[0] * _STEP
    lag, likeness = _best_lag(x, max(SHORTEST, lag - _STEP), min(longest, lag + _STEP), window)
    return lag if likeness >= like else None


def _best_lag(x: NDArray[np.float32], first: int, last: int, window: int) -> tuple[int, float]:
    reference = x[:window]
    shifted = x[first : last + window]
    cross = np.correlate(shifted, reference, "valid")
    # Sums of squares over a window, as differences of running sums: in double, or the last bits are noise.
    running = np.cumsum(np.square(shifted, dtype=np.float64))
    power = running[window - 1 :].copy()
    power[1:] -= running[:-window]
    likeness = cross / np.sqrt(power * float(reference @ reference) + 1.0)
    best = int(np.argmax(likeness))
    return first + best, float(likeness[best])


def shorten(pcm: NDArray[np.int16], period: int) -> NDArray[np.int16]:
    """Take one ``period`` out at the front; what was before still fits on to it."""
    return np.concatenate((_cross_fade(pcm[:period], pcm[period : 2 * period]), pcm[2 * period :]))


def lengthen(pcm: NDArray[np.int16], period: int) -> NDArray[np.int16]:
    """Say the first ``period`` twice."""
    return np.concatenate((pcm[:period], _cross_fade(pcm[period : 2 * period], pcm[:period]), pcm[period:]))
