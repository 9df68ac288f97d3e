"""The agent where the user is transcribed while they speak, and interrupts by what they say, not by making a sound.

The words are the scenario's, told as if they were recognised at a speaker's pace. Pure, as ``Director`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rtcpeer.commands import EndUtterance, Interrupt
from rtcpeer.events import SpeechStarted, SpeechStopped, TranscriptUpdated
from rtcpeer.said import Said

from .agent import Action, Director, Hush, Tell
from .barge_in import BargeInRule
from .scenario import Line, Scenario, Turn

WORD = 0.3
"""Seconds for a word: a calm speaker's pace."""


class ListeningDirector(Director):
    """Decides what such an agent does; arguments as ``Director``."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        transcribe: bool = False,
        active: Callable[[], frozenset[str]] = frozenset,
        rule: BargeInRule | None = None,
    ) -> None:
        super().__init__(scenario, transcribe=transcribe, active=active)
        self._rule = rule or BargeInRule()
        self._speech_began: float | None = None
        self._words_told = 0
        self._last_barge: float | None = None

    @property
    def due(self) -> float | None:
        return min((each for each in (super().due, self._next_word) if each is not None), default=None)

    @property
    def _next_word(self) -> float | None:
        turn = self._being_said
        if self._speech_began is None or turn is None or self._words_told >= len(turn.heard.split()):
            return None
        return self._speech_began + (self._words_told + 1) * WORD

    @property
    def _being_said(self) -> Turn | None:
        """What the user is saying, as far as the scenario knows; ``None``: they go on after their words were told."""
        if not self._scenario.turns or (self._answering is not None and self._speaking is None):
            return None
        return self._scenario.turns[self._taken % len(self._scenario.turns)]

    def hear(self, said: Said, now: float) -> Iterator[Action]:
        match said:
            case SpeechStarted("user"):
                self._speech_began, self._words_told = now, 0
                if self._speaking is None:
                    yield from super().hear(said, now)
            case Interrupt() if self._speaking is not None:
                yield from self._give_way("manual", now)
            case SpeechStopped("user") | EndUtterance() if self._speech_began is not None:
                self._speech_began = None
                if self._speaking is None:
                    yield from super().hear(SpeechStopped("user", 0.0), now)
                elif self._words_told and self._transcribe:
                    # Not enough to interrupt, so it was nothing.
                    yield Tell(TranscriptUpdated("user", ""))

    def tick(self, now: float) -> Iterator[Action]:
        while (due := self._next_word) is not None and due <= now:
            turn = self._being_said
            assert turn is not None
            assert self._speech_began is not None
            self._words_told += 1
            partial = " ".join(turn.heard.split()[: self._words_told])
            if self._transcribe:
                yield Tell(TranscriptUpdated("user", partial))
            if self._rule.interrupts(
                partial,
                agent_speaking=self._speaking is not None,
                confidence=turn.confidence,
                since_speech=due - self._speech_began,
                since_barge=None if self._last_barge is None else now - self._last_barge,
            ):
                yield from self._give_way("content_partial", now)
        yield from super().tick(now)

    def _give_way(self, reason: str, now: float) -> Iterator[Action]:
        self._last_barge = now
        yield Hush(interrupted=True, reason=reason)
        yield from self._finish()

    def _speak(self, line: Line) -> Iterator[Action]:
        yield Tell(TranscriptUpdated("assistant", line.text))
        yield from super()._speak(line)
