"""The far end's speech, cut into turns. Never reads a clock: times are seconds since ``connect()``.

A turn begins with the first audible frame, or with the message that marks it done when that comes first: servers
mark a turn done when it is generated, which may be before it is heard. It ends when it is marked done *and* its audio
has been quiet for a moment; a server that never marks turns gets a longer moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .events import (
    Event,
    Interrupted,
    ResponseCompleted,
    TranscriptCompleted,
    TranscriptUpdated,
    TurnMeasured,
)

QUIET = 0.8
"""Seconds of silence that end a turn marked done: longer than a speaker's pause for breath."""
QUIET_UNMARKED = 3.0
"""Seconds of silence that end a turn nobody marked."""
LONGEST = 60.0
"""Seconds of a turn's audio that are kept for ``listen()`` unless asked otherwise; the rest is heard all the same."""
LONGEST_TEXT = 256 * 1024
"""Characters of a turn's text that are kept for ``listen()``: hours of it."""
_MOST_MARKS = 100
"""Marks of one turn that are remembered: one is usual."""
_PRE_ROLL = 5
"""Frames kept from before the voice detector was sure, so that the first consonant is in."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the agent."""

    text: str
    """What it said, by its own account; empty when it sent no text. Of a turn that was cut short, what was heard
    of it where its words came with its sound (Soca's sentences), otherwise all that it was going to say."""
    heard: str | None
    """What it understood of us, ``None`` when it sent no transcript."""
    audio: NDArray[np.int16] = field(repr=False)
    """What was heard of it, ``(samples, 1)`` at 48 kHz."""
    turnaround: float | None
    """Seconds from the end of our speech to its first audible sample; ``None`` when we had not spoken."""
    started: float
    """When it began, in seconds since ``connect()``."""
    ended: float = 0.0
    """When its last sound was heard, or when it was cut short, in seconds since ``connect()``."""
    played: float = 0.0
    """Seconds of it that were really handed on here, from its first audible sample to its last."""
    interrupted: bool = False
    """It was cut short, here or by the far end."""
    marks: tuple[ResponseCompleted, ...] = field(default=(), repr=False, compare=False)
    """The events that marked it done."""


class TurnTracker:
    """Feed it every event and every 20 ms frame that is played out; it returns the turns as they end."""

    def __init__(self, longest: float | None = LONGEST) -> None:
        self.longest = longest
        """Seconds of a turn's audio that are kept; ``None``: none of it, and ``Turn.audio`` is empty."""
        self._pre_roll: deque[NDArray[np.int16]] = deque(maxlen=_PRE_ROLL)
        self._heard: str | None = None
        self._turnaround: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._started: float | None = None
        self._marked: float | None = None
        self.marked_early = False
        """The turn in progress was marked done before anything of it was heard."""
        self._last_audible: float | None = None
        self._texts: list[str] = []
        self._marks: list[ResponseCompleted] = []
        self._characters = 0
        self._transcript = ""
        # Where in its sound, in seconds, the words of the transcript were that long: the latest thousand times.
        self._transcript_at: deque[tuple[float, int]] = deque(maxlen=1000)
        self._frames: list[NDArray[np.int16]] = []
        self._count = 0
        self._quiet_first: int | None = None  # frames of the pre-roll, once something was audible
        self._audible_to = 0
        self._interrupted: Interrupted | None = None
        self._interrupted_at = 0.0

    @property
    def in_progress(self) -> bool:
        """A turn has begun and not ended."""
        return self._started is not None

    @property
    def started(self) -> float | None:
        """When the turn in progress began, in seconds since ``connect()``."""
        return self._started

    @property
    def interrupted(self) -> bool:
        """The turn in progress was cut short."""
        return self._interrupted is not None

    @property
    def marked(self) -> float | None:
        """When the turn in progress was marked done."""
        return self._marked

    @property
    def last_audible(self) -> float | None:
        """When something of the turn in progress was heard last."""
        return self._last_audible

    @property
    def played(self) -> float:
        """Seconds of the turn in progress that were handed on so far, from its first audible sample to its last."""
        if self._interrupted is not None:
            return self._interrupted.played
        return 0.0 if self._quiet_first is None else (self._audible_to - self._quiet_first) * 0.02

    def on_event(self, event: Event, t: float, *, received: float = 0.0, of_cut: bool = False) -> None:
        """Take an event.

        Args:
            received: Seconds of the turn's sound that came before it.
            of_cut: A mark is that of a turn that was cut short here, and which may have been given out already.
        """
        match event:
            case ResponseCompleted() if of_cut and self._started is None:
                return
            case TranscriptUpdated(speaker="assistant", text=text) if not of_cut and len(text) < LONGEST_TEXT:
                if not text.startswith(self._transcript):
                    self._transcript_at.clear()
                self._transcript = text
                self._transcript_at.append((received, len(text)))
            case TranscriptCompleted(speaker="user", text=text):
                self._heard = text
            case ResponseCompleted(text=text) as mark:
                self._started = t if self._started is None else self._started
                if self._marked is None:
                    self.marked_early = self._last_audible is None
                self._marked = t
                self._marks = [*self._marks[-_MOST_MARKS + 1 :], mark]
                # What one that never stops says beyond this is still among the events.
                if self._characters + len(text) < LONGEST_TEXT:
                    self._texts.append(text)
                    self._characters += len(text) + 1
            case Interrupted(reason=reason) if self._started is not None:
                if self._interrupted is None:
                    self._interrupted, self._interrupted_at = event, t
                # Its end may come without another word; one that we cut off ourselves is still marked done.
                if reason != "local":
                    self._marked = t
            case TurnMeasured(turnaround=turnaround):
                self._turnaround = turnaround

    def on_frame(self, pcm: NDArray[np.int16], audible: bool, t: float) -> Turn | None:
        """Take the frame played out at ``t``; return the turn that it ended, if it did."""
        if audible:
            self._last_audible = t
            if self._started is None:
                self._started = t
        if self._started is None:
            self._pre_roll.append(pcm)
            return None
        if audible and self._quiet_first is None:
            self._quiet_first = self._count + len(self._pre_roll)
        for frame in self._pre_roll:
            self._keep(frame)
        self._pre_roll.clear()
        self._keep(pcm)
        if audible:
            self._audible_to = self._count
        return self.finish() if self._over(t) else None

    def _keep(self, pcm: NDArray[np.int16]) -> None:
        if self.longest is not None and self._count * 0.02 < self.longest:
            self._frames.append(pcm)
        self._count += 1

    def finish(self) -> Turn | None:
        """End the turn in progress as it is, if there is one: the call is over."""
        if self._started is None:
            return None
        if self._interrupted is not None:
            ended = self._interrupted_at
        else:
            ended = self._started if self._last_audible is None else self._last_audible + 0.02
        turn = Turn(
            text=self._heard_text() if self._interrupted and self._transcript_at else " ".join(self._texts),
            heard=self._heard,
            audio=np.concatenate(self._frames or [np.empty((0, 1), np.int16)]),
            turnaround=self._turnaround,
            started=self._started,
            ended=round(ended, 4),
            played=round(self.played, 3),
            interrupted=self.interrupted,
            marks=tuple(self._marks),
        )
        self._heard = self._turnaround = None
        self._reset()
        return turn

    def _heard_text(self) -> str:
        """Return the words of a turn that was cut short whose sound had begun."""
        lengths = [length for begins, length in self._transcript_at if begins < self.played]
        return self._transcript[: lengths[-1]] if lengths else ""

    def _over(self, t: float) -> bool:
        if self._marked is None:
            return self._last_audible is not None and t - self._last_audible >= QUIET_UNMARKED
        # Marked before it is heard: the audio gets the same moment to begin as it gets to end.
        return t - max(self._marked, self._last_audible or 0.0) >= QUIET
