"""The agent that transcribes as it listens, and is interrupted by words: one row after the other, without audio."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from rtcpeer.commands import EndUtterance, Interrupt
from rtcpeer.events import ResponseCompleted, SpeechStarted, SpeechStopped, TranscriptCompleted, TranscriptUpdated
from signaling.agent import Action, Hush, Speak, Tell
from signaling.listening import WORD, ListeningDirector
from signaling.scenario import Line, Scenario, Turn

STARTED = SpeechStarted("user")
STOPPED = SpeechStopped("user", 0.5)
SCRIPT = Scenario(
    "script",
    "three turns",
    turns=(
        Turn("Tell me everything", Line("1.flac", "One.")),
        Turn("Please stop talking", Line("2.flac", "Two.")),
        Turn("uh um hmm", Line("3.flac", "Three.")),
    ),
    think_time=0.25,
)


def partial(text: str) -> Tell:
    return Tell(TranscriptUpdated("user", text))


def final(text: str) -> Tell:
    return Tell(TranscriptCompleted("user", text, text))


def says(file: str, text: str) -> list[Action]:
    return [Tell(TranscriptUpdated("assistant", text)), Speak(file)]


def done(text: str) -> Tell:
    return Tell(ResponseCompleted(text, text))


FIRST = [partial("Tell"), partial("Tell me"), partial("Tell me everything"), final("Tell me everything")]
ASKED = [STARTED, 1.0, STOPPED, 0.25]


def play(steps: Iterable[object], scenario: Scenario = SCRIPT) -> list[Action]:
    """Return all that was done over steps: an event, seconds that pass, or ``None`` for "it was played"."""
    director = ListeningDirector(scenario, transcribe=True)
    now = 0.0
    found: list[Action] = []
    for step in steps:
        if step is None:
            found += director.played()
        elif isinstance(step, float):
            end = now + step
            while director.due is not None and director.due <= end:
                now = director.due
                found += director.tick(now)
            now = end
            found += director.tick(now)
        else:
            found += director.hear(step, now)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([STARTED, WORD], FIRST[:1], id="a word at a time"),
        pytest.param([STARTED, 60.0], FIRST[:3], id="no more than there is to say"),
        pytest.param([STARTED, 1.0, STOPPED], FIRST, id="the whole when they fall silent"),
        pytest.param(ASKED, [*FIRST, *says("1.flac", "One.")], id="answers, words first"),
        pytest.param([*ASKED, None], [*FIRST, *says("1.flac", "One."), done("One.")], id="is done when it was said"),
        pytest.param([STARTED, 1.0, EndUtterance()], FIRST, id="the utterance is over when they say so"),
        pytest.param(
            [STARTED, 1.0, EndUtterance(), 0.25, STOPPED],
            [*FIRST, *says("1.flac", "One.")],
            id="the silence after that is not another utterance",
        ),
        pytest.param([EndUtterance()], [], id="there is no utterance to be over"),
        pytest.param(
            [*ASKED, STARTED, 2 * WORD],
            [
                *FIRST,
                *says("1.flac", "One."),
                partial("Please"),
                partial("Please stop"),
                Hush(interrupted=True, reason="content_partial"),
                done("One."),
            ],
            id="stops at the second word, not at a sound",
        ),
        pytest.param(
            [*ASKED, STARTED, WORD, STOPPED],
            [*FIRST, *says("1.flac", "One."), partial("Please"), partial("")],
            id="one word was nothing",
        ),
        pytest.param(
            [*ASKED, STARTED, 1.0, STOPPED, 0.25],
            [
                *FIRST,
                *says("1.flac", "One."),
                partial("Please"),
                partial("Please stop"),
                Hush(interrupted=True, reason="content_partial"),
                done("One."),
                partial("Please stop talking"),
                final("Please stop talking"),
                *says("2.flac", "Two."),
            ],
            id="answers who interrupted it",
        ),
        pytest.param(
            [*ASKED, Interrupt()],
            [*FIRST, *says("1.flac", "One."), Hush(interrupted=True, reason="manual"), done("One.")],
            id="stops when told to",
        ),
        pytest.param([Interrupt()], [], id="there is nobody to stop"),
    ],
)
def test_what_is_heard_decides_what_is_done(steps: list[object], expected: list[Action]) -> None:
    assert expected == play(steps)


def test_fillers_and_doubt_do_not_interrupt() -> None:
    for turn in (Turn("uh um hmm uh um", SCRIPT.turns[0].answer), Turn("Please stop", SCRIPT.turns[0].answer, 0.2)):
        scenario = Scenario("s", "", turns=(SCRIPT.turns[0], turn))
        actions = play([STARTED, 1.0, STOPPED, 0.3, STARTED, 5.0], scenario)
        assert not [action for action in actions if isinstance(action, Hush)]
        assert isinstance(actions[-1], Tell)


def test_words_never_grow_shorter() -> None:
    told = [
        action.event.text
        for action in play([STARTED, 5.0])
        if isinstance(action, Tell) and isinstance(action.event, TranscriptUpdated)
    ]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(told))
