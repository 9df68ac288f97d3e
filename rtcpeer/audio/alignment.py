"""Both sides of a call on one timeline: ours when it was said, theirs when it came. Pure.

A playout holds what comes now longer, now shorter: a frame more at the start, as long as jitter asks for, and up to a
frame more or less as the two ends' clocks drift apart. In a recording that would be a change of the offset between
the sides; so what was heard is put as much earlier as it was held. Where that changes, silence is left out or put in,
in the pauses of the voice only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE
from .level import level_of

_RATE = VOICE.sample_rate
# Whatever is held longer than this lies later by what it is more: ours waits as long as theirs was held.
_LONGEST = _RATE
# Below -50 dBFS nobody hears what is cut out or put in: every 25 s for a drift of 100 ppm. In a background that is
# louder, but no voice, it is to be worth it.
_QUIET, _TOLERANCE = 10 ** (-50 / 10), _RATE // 400
_FAINT, _COARSE = 10 ** (-40 / 10), _RATE // 100
_NEVER = 10 * _RATE
_NOTHING: NDArray[np.int16] = np.empty((0, 1), np.int16)

Block = tuple[int, NDArray[np.int16], NDArray[np.int16] | None]
"""What lies at a sample of the timeline: ours and theirs, ``(samples, 1)`` each; ``None`` is silence."""


class Alignment:
    """``feed`` it every frame of a call; what it returns is to be written there, the positions rise."""

    def __init__(self) -> None:
        self._ours = _NOTHING  # what was said and waits for what came meanwhile: it is as long as theirs is early
        self._end = 0
        self._allowed = _TOLERANCE  # samples by which it was to be off for that frame to be touched

    def feed(
        self, position: int, ours: NDArray[np.int16], theirs: NDArray[np.int16], delay: float | None
    ) -> list[Block]:
        """Take a frame, ``(960, 1)`` each, that was said and heard at ``position``; one that skips some is a gap.

        Args:
            delay: Seconds that ``theirs`` was held before it was heard; ``None``: unknown, as long as before.
        """
        blocks: list[Block] = []
        if position != self._end:
            blocks += self.flush()
            # What was heard before and after the gap is early by the same: in the gap nothing was said.
            self._ours = np.zeros((min(len(blocks[0][1]) if blocks else 0, position - self._end), 1), np.int16)
        self._end = position + len(ours)
        if delay is not None:
            theirs = self._corrected(theirs, delay)
        if not len(self._ours) and len(theirs) == len(ours):
            return [*blocks, (position, ours, theirs)]
        begin = position - len(self._ours)
        ours = np.concatenate((self._ours, ours))
        ours, self._ours = ours[: len(theirs)], ours[len(theirs) :]
        return [*blocks, (begin, ours, theirs)] if len(theirs) else blocks

    def flush(self) -> list[Block]:
        """Return what was said and still waits: nothing comes beside it any more."""
        ours, self._ours = self._ours, _NOTHING
        return [(self._end - len(ours), ours, None)] if len(ours) else []

    def _corrected(self, theirs: NDArray[np.int16], delay: float) -> NDArray[np.int16]:
        """Return the frame as much shorter or longer as it takes to be early by ``delay``, if nobody hears that."""
        missing = min(round(delay * _RATE), _LONGEST) - len(self._ours)
        power = level_of(theirs).power
        before, self._allowed = self._allowed, _TOLERANCE if power < _QUIET else _COARSE if power < _FAINT else _NEVER
        if missing >= self._allowed:
            return theirs[missing:]
        if -missing >= min(before, self._allowed):
            return np.concatenate((np.zeros((-missing, 1), np.int16), theirs))
        return theirs
