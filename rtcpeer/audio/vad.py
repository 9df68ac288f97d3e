"""When somebody speaks: energy against a noise floor, with an onset that a click does not pass.

Pure: it is fed frames with their times and never reads a clock.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .level import LEAST, Level, level_of

# One voiced frame is a click, and two are one that fell on a frame's border: of the last five, three make a voice.
_WINDOW = 5
_ONSET = 3
# The floor is the quietest frame of the last 1.5 to 3 s: speech has pauses, noise has none.
_FLOOR_SPAN = 1.5
_ABOVE_FLOOR_DB = 9.0
# A tone has no pauses either, and is to be heard: no noise is louder than this.
_HIGHEST_FLOOR_DB = -40.0
_SILENCE_DB = -96.0


class VoiceDetector:
    """Tells voice from silence, frame by frame.

    Args:
        sample_rate: Hz, of the frames fed.
        hangover: Seconds of silence that end an utterance; pauses shorter than this belong to it.
        threshold_dbfs: RMS below which nothing is a voice; steady noise above it raises the threshold by itself.
    """

    def __init__(self, sample_rate: int = 48_000, *, hangover: float = 0.5, threshold_dbfs: float = -45.0) -> None:
        self.sample_rate = sample_rate
        self.hangover = hangover
        self.threshold_dbfs = threshold_dbfs
        self.voiced = False
        """Whether the last frame was."""
        self.speaking = False
        """Between ``started`` and ``stopped``."""
        self.started_at: float | None = None
        """Start of the first voiced frame of the last utterance, in the clock of ``at``."""
        self.last_voiced_at: float | None = None
        """End of the last voiced frame of it; while ``speaking``, of the last so far."""
        # (start, end) of the voiced frames among the last few; None for the others.
        self._recent: deque[tuple[float, float] | None] = deque(maxlen=_WINDOW)
        self._floor = self._next_floor = 0.0
        self._floor_until = -math.inf

    def feed(
        self, frame: NDArray[np.int16], at: float, measured: Level | None = None
    ) -> Literal["started", "stopped"] | None:
        """Hear one frame, ``(samples, channels)``, that begins ``at`` seconds; tell what changed.

        ``started`` comes some frames late: ``started_at`` is when it really began. ``stopped`` comes ``hangover``
        after ``last_voiced_at``.

        Args:
            measured: Its level, where somebody knows it already.
        """
        power, offset = measured or level_of(frame)
        power -= offset * offset
        level = 10.0 * math.log10(power) if power > LEAST else _SILENCE_DB
        end = at + len(frame) / self.sample_rate
        threshold = max(self.threshold_dbfs, min(self._track_floor(level, at), _HIGHEST_FLOOR_DB) + _ABOVE_FLOOR_DB)
        self.voiced = level > threshold
        recent = self._recent
        recent.append((at, end) if self.voiced else None)

        if self.speaking:
            # A click in the hangover does not prolong it.
            if self.voiced and len(recent) - recent.count(None) >= 2:
                self.last_voiced_at = end
            elif self.last_voiced_at is not None and end - self.last_voiced_at >= self.hangover - 1e-6:
                self.speaking = False
                return "stopped"
        elif len(recent) - recent.count(None) >= _ONSET:
            voiced = [span for span in recent if span is not None]
            self.speaking = True
            self.started_at = voiced[0][0]
            self.last_voiced_at = voiced[-1][1]
            return "started"
        return None

    def _track_floor(self, level: float, at: float) -> float:
        if at >= self._floor_until:
            # Before the first span is over nothing is known of the noise.
            self._floor = self._next_floor if self._floor_until > -math.inf else _SILENCE_DB
            self._next_floor = level
            self._floor_until = at + _FLOOR_SPAN
        if level < self._next_floor:
            self._next_floor = level
        if level < self._floor:
            self._floor = level
        return self._floor
