"""Whether the far end is still there. Pure: ``now`` is an argument, in seconds on any clock that only goes forward.

Everything travels over one path (BUNDLE, rtcp-mux), so that one question decides for all of it: has anything come?
A far end may be muted, pause with DTX, or have nothing to say on the channel for as long as it likes; so silence is
no death, but a reason to ask. What is asked (a STUN binding request, or a ping) is answered by whoever is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """How long a far end may be silent; both count from the last sign of life, in seconds.

    Raises:
        ConfigurationError: values that make no sense.
    """

    ask_after: float = 3.0
    """Then it is asked, once a second, whether it is there."""
    lost_after: float = 8.8
    """Then it is lost. Not 9: who counts from when it vanished, and waits for our loop, still sees it within nine."""

    def __post_init__(self) -> None:
        if not (0 < self.ask_after < self.lost_after < math.inf):
            raise ConfigurationError(f"{self}: ask after some time, and give up some time after that")

    @property
    def interval(self) -> float:
        """Seconds between two questions: one, or less where three would not fit."""
        return min(1.0, (self.lost_after - self.ask_after) / 3)


WATCHFUL = Watchdog()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now, and when to look again."""

    next: float
    """On the clock of ``now``."""
    ask: bool = False
    news: Literal["degraded", "recovered", "lost"] | None = None
    silence: float = 0.0
    """Seconds without a sign of life; of a recovery, how long it had been silent."""


class Watch:
    """One path's. Call ``look`` when its last verdict said; sooner does no harm.

    Time alone proves nothing: an event loop that stood still, or a machine that slept, has heard nothing either. So a
    far end is lost only after it left unanswered as many questions as there is time for.
    """

    def __init__(self, watchdog: Watchdog, now: float) -> None:
        self._watchdog = watchdog
        self._patience = watchdog.lost_after - watchdog.ask_after
        self._questions = math.ceil(self._patience / watchdog.interval)
        self._heard = now
        self._asked = 0
        """Questions since it was heard last."""
        self._first_question = self._last_question = -math.inf
        self._degraded = False

    def look(self, now: float, heard: float, *, suspicious: bool = False) -> Verdict:
        """Decide.

        Args:
            heard: When something came from the far end last.
            suspicious: Something speaks for its death, or for that of our own network: it is asked without delay.
        """
        dog = self._watchdog
        if heard > self._heard:
            silence, self._heard, self._asked = heard - self._heard, heard, 0
            if self._degraded:
                self._degraded = False
                return Verdict(heard + dog.ask_after, news="recovered", silence=silence)
        silence = now - self._heard
        rested = now >= self._last_question + dog.interval
        if not self._asked:
            if now < self._heard + dog.ask_after and not (suspicious and rested):
                return Verdict(self._heard + dog.ask_after)
            self._asked, self._first_question, self._last_question = 1, now, now
            return Verdict(now + dog.interval, ask=True, silence=silence)
        deadline = self._first_question + self._patience
        if self._asked >= self._questions:
            return Verdict(deadline) if now < deadline else Verdict(math.inf, news="lost", silence=silence)
        if not rested:
            return Verdict(self._last_question + dog.interval)
        self._asked += 1
        self._last_question = now
        news: Literal["degraded"] | None = None if self._degraded else "degraded"
        self._degraded = True
        soonest = now + dog.interval
        return Verdict(soonest if self._asked < self._questions else max(now, deadline), True, news, silence)
