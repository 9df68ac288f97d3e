"""Between two clocks that nearly agree: a sound card's and ours.

Over minutes, one side puts more than the other takes, or less. What waits in between is kept near a target by taking
one period of the voice out, or saying one twice; where the sound has none, 5 ms with a cross-fade.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE
from .source import FADE, Fifo
from .stretch import LONGEST, find_period, lengthen, shorten

# One correction is up to 15 ms, so it ends within the band. Of 60 ms a block of ours takes 20, and a device's, of 20,
# moves the level by 10 more: wider than this, and it could run dry before it is corrected.
_TOLERANCE = 0.015
_LIMIT = 0.5
# Blocks come and go in the rhythm of two devices; the level is looked at over this many seconds of audio taken.
_SMOOTHING = 1.0


class DriftBuffer:
    """``(n, 1)`` int16 at 48 kHz in and out, each from a thread of its own; ``target`` seconds wait inside.

    When half a second waits, the oldest is dropped, down to the target. When it runs dry, it gives nothing until the
    target is there again.
    """

    def __init__(self, target: float = 0.06) -> None:
        self._lock = threading.Lock()
        self._fifo = Fifo()
        self._target = round(target * VOICE.sample_rate)
        self._level = float(self._target)
        self._filling = True
        self.underruns = 0
        """How often it ran dry."""
        self.samples_inserted = 0
        self.samples_removed = 0
        self.samples_dropped = 0
        """Of these nothing was heard: the other side stood still."""

    @property
    def level(self) -> float:
        """Seconds that wait, now."""
        return self._fifo.samples / VOICE.sample_rate

    def put(self, pcm: NDArray[np.int16]) -> None:
        """Add what came; the array must not change afterwards."""
        with self._lock:
            self._fifo.put(pcm)
            if self._fifo.samples > _LIMIT * VOICE.sample_rate:
                excess = self._fifo.samples - self._target
                self._fifo.take(excess)
                self.samples_dropped += excess
                self._level = self._target

    def take(self, samples: int) -> NDArray[np.int16]:
        """Return exactly ``samples``, or nothing."""
        with self._lock:
            if self._filling and self._fifo.samples >= self._target:
                self._filling = False
                self._level = self._target
            if self._filling:
                return self._fifo.take(0)
            if self._fifo.samples < samples:
                self._filling = True
                self.underruns += 1
                return self._fifo.take(0)
            self._level += (self._fifo.samples - self._level) * min(1.0, samples / (_SMOOTHING * VOICE.sample_rate))
            # It is looked at before a block is taken: on average, half of one is there too little or too much.
            off = self._level - (self._target - samples / 2)
            if abs(off) > _TOLERANCE * VOICE.sample_rate:
                self._correct(samples, shorter=off > 0)
            return self._fifo.take(samples)

    def _correct(self, samples: int, *, shorter: bool) -> None:
        pcm = self._fifo.take(samples + 2 * LONGEST)
        period = find_period(pcm[: 2 * LONGEST]) or FADE
        if shorter and len(pcm) >= max(samples + period, 2 * period):
            pcm = shorten(pcm, period)
            self._level -= period
            self.samples_removed += period
        elif not shorter and len(pcm) >= 2 * period:
            pcm = lengthen(pcm, period)
            self._level += period
            self.samples_inserted += period
        self._fifo.put_back(pcm)
