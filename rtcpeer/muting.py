"""An answer that was cut short here is not heard again: nothing of it, until the agent's next turn begins.

The far end may not know that it was cut short, and speaks on, pauses and all. What tells that its answer is over is
collected here. Pure: times are in seconds.
"""

from __future__ import annotations

from . import turns
from .events import Event, Interrupted, ResponseCompleted, TranscriptCompleted

_SHORT = 0.2
"""Seconds of silence that are enough where something else says that the answer is over."""
_PAUSE = 0.4
"""Seconds of silence that end what was cut short of a sound that has no turns, such as a computer's."""
_EARLY = 0.5
"""Seconds after its mark in which an answer's last sound may come; with more, it was marked before it was heard."""


class Muting:
    """Begin it when the agent is cut short; then tell it every event, and every frame while it is ``active``."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._last_audible = 0.0
        self._marked: float | None = None
        self._early = self._next_marked = False
        self._given_up = False
        self._answered = False
        self._in_order = False
        self._has_turns = True
        self._spoke_at: float | None = None
        self._yielded: bool | None = None  # None: not known yet

    @property
    def active(self) -> bool:
        return self._began is not None

    @property
    def awaits_mark(self) -> bool:
        """The next ``ResponseCompleted`` is that of the answer that was cut short."""
        return self.active and self._marked is None

    def begin(
        self,
        t: float,
        *,
        last_audible: float | None,
        marked: float | None,
        marked_early: bool = False,
        spoke_at: float | None,
        in_order: bool = False,
        has_turns: bool = True,
    ) -> None:
        """The agent is cut short at ``t``.

        Args:
            last_audible: When it was heard last.
            marked: When this turn was marked done, if it was.
            marked_early: It was marked before anything was heard of it, which says nothing of its end.
            spoke_at: When we were heard last, if we have spoken since it began.
            in_order: Its audio comes in the same stream as its events, and as fast as it likes.
            has_turns: The protocol marks where an agent's turn is done.
        """
        self._began, self._in_order, self._has_turns = t, in_order, has_turns
        self._last_audible = t if last_audible is None else last_audible
        self._marked, self._next_marked, self._early = marked, False, marked_early
        self._given_up = self._answered = False
        self._spoke_at, self._yielded = spoke_at, None

    def end(self) -> None:
        """What comes from now on is another turn's."""
        self._began = None

    def on_event(self, event: Event, t: float) -> None:
        """Take what the far end says."""
        if not self.active:
            return
        match event:
            case ResponseCompleted() if self._marked is None:
                self._marked = t
            case ResponseCompleted():
                self._next_marked = True
            case Interrupted(reason=reason) if reason != "local":
                self._given_up = True
            case TranscriptCompleted(speaker="user") if self._spoke_at is not None:
                self._answered = True

    def over(self, t: float, *, audible: bool, we_speak: bool) -> bool:
        """Take 20 ms at ``t``; return whether the answer that was cut short is over.

        Args:
            audible: Something of it would have been heard.
            we_speak: We are heard by the far end.
        """
        if audible:
            self._last_audible = t
        if we_speak:
            self._spoke_at, self._yielded = t, None
        elif self._yielded is None and self._spoke_at is not None and t - self._spoke_at >= _SHORT:
            # An agent that lets us finish has stopped for us; one that speaks on at the end has not.
            self._yielded = t - self._last_audible >= _SHORT
        return not audible and t - self._last_audible >= self._needed()

    def _needed(self) -> float:
        """Return how long it has to be quiet."""
        if not self._has_turns:
            return _PAUSE
        if self._given_up or self._answered or self._next_marked or self._yielded:
            return _SHORT
        if self._marked is not None and not self._early and self._last_audible <= self._marked + _EARLY:
            return _SHORT if self._in_order else turns.QUIET
        if self._yielded is not None:
            return turns.QUIET
        return turns.QUIET_UNMARKED
