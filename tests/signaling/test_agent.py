"""The agent's decisions, one row of a table after the other; the audio is elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rtcpeer.events import ResponseCompleted, SpeechStarted, SpeechStopped, TranscriptCompleted
from signaling.agent import Action, Director, Hush, Speak, Tell
from signaling.scenario import Line, Scenario, Turn

STARTED = SpeechStarted("user")
STOPPED = SpeechStopped("user", 0.5)
GREETING = Line("hello.flac", "Hello.")
SCRIPT = Scenario(
    "script",
    "two turns",
    turns=(Turn("One?", Line("1.flac", "One.")), Turn("Two?", Line("2.flac", "Two."))),
    think_time=0.25,
)


def told(text: str) -> Tell:
    return Tell(ResponseCompleted(text, text))


def heard(text: str) -> Tell:
    return Tell(TranscriptCompleted("user", text, text))


def play(director: Director, steps: Iterable[object]) -> list[Action]:
    """Return all that was done over steps: an event, seconds that pass, or ``None`` for "it was played"."""
    now = 0.0
    done: list[Action] = []
    for step in steps:
        if step is None:
            done += director.played()
        elif isinstance(step, float):
            now += step
            done += director.tick(now)
        else:
            done += director.hear(step, now)  # type: ignore[arg-type]
    return done


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([STARTED], [], id="listens while they speak"),
        pytest.param([STARTED, STOPPED], [heard("One?")], id="says what it heard at once"),
        pytest.param([STOPPED, 0.2], [heard("One?")], id="thinks"),
        pytest.param([STOPPED, 0.25], [heard("One?"), Speak("1.flac")], id="answers when it has thought"),
        pytest.param(
            [STOPPED, 0.25, None], [heard("One?"), Speak("1.flac"), told("One.")], id="is done when it was played"
        ),
        pytest.param(
            [STOPPED, 0.25, STARTED],
            [heard("One?"), Speak("1.flac"), Hush(interrupted=True), told("One.")],
            id="stops when they cut in",
        ),
        pytest.param(
            [STOPPED, 0.1, STARTED, 9.0, STOPPED, 0.25],
            [heard("One?"), Speak("1.flac")],
            id="waits when they go on, and answers the same turn",
        ),
        pytest.param(
            [STOPPED, 0.25, None] * 3,
            [
                *(heard("One?"), Speak("1.flac"), told("One.")),
                *(heard("Two?"), Speak("2.flac"), told("Two.")),
                *(heard("One?"), Speak("1.flac"), told("One.")),
            ],
            id="takes the turns in order and again from the first",
        ),
        pytest.param(
            [SpeechStarted("assistant"), SpeechStopped("assistant", 0.5), 9.0], [], id="does not answer itself"
        ),
    ],
)
def test_agent_does_what_the_table_says(steps: list[object], expected: list[Action]):
    assert expected == play(Director(SCRIPT, transcribe=True), steps)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"early-done"}, [heard("One?"), Speak("1.flac"), told("One.")]),
        ({"late-transcript"}, [Speak("1.flac"), told("One."), heard("One?")]),
        ({"late-transcript", "early-done"}, [Speak("1.flac"), told("One."), heard("One?")]),
        ({"late-done", "early-done"}, [heard("One?"), Speak("1.flac"), told("One.")]),
    ],
)
def test_fault_changes_the_order(faults: set[str], expected: list[Action]):
    director = Director(SCRIPT, transcribe=True, active=lambda: frozenset(faults))

    assert expected == play(director, [STOPPED, 0.25, None])


def test_transcripts_are_for_those_who_asked():
    assert [Speak("1.flac"), told("One.")] == play(Director(SCRIPT), [STOPPED, 0.25, None])


def test_late_done_wins_over_a_scenario_that_marks_early():
    early = Scenario("early", "", turns=SCRIPT.turns, done_order="early", think_time=0.0)

    assert [Speak("1.flac"), told("One.")] == play(Director(early), [STOPPED, 0.0])
    late = Director(early, active=lambda: frozenset({"late-done"}))
    assert [Speak("1.flac")] == play(late, [STOPPED, 0.0])


def test_turn_is_marked_done_once_when_marked_early_and_cut_short():
    early = Scenario("early", "", turns=SCRIPT.turns, done_order="early", think_time=0.0)

    assert [Speak("1.flac"), told("One."), Hush(interrupted=True)] == play(Director(early), [STOPPED, 0.0, STARTED])


def test_greeting_is_said_first_and_can_be_cut_short():
    director = Director(Scenario("polite", "", greeting=GREETING))

    assert [Speak("hello.flac")] == list(director.begin())
    assert [Hush(interrupted=True), told("Hello.")] == list(director.hear(STARTED, 0.0))


@pytest.mark.parametrize("kind", ["echo", "tone"])
def test_echo_and_tone_sound_from_the_start_and_take_no_turns(kind: str):
    director = Director(Scenario(kind, "", kind=kind))  # type: ignore[arg-type]

    assert [Speak(kind)] == list(director.begin())
    assert play(director, [STARTED, STOPPED, 9.0]) == []


def test_change_of_scenario_ends_the_turn_and_begins_the_new_one():
    director = Director(SCRIPT)
    play(director, [STOPPED, 0.25])

    assert [Hush(interrupted=False), told("One."), Speak("tone")] == list(
        director.change(Scenario("tone", "", kind="tone"))
    )
    assert director.due is None


def test_change_of_scenario_forgets_what_it_was_about_to_say():
    director = Director(SCRIPT)
    play(director, [STOPPED])

    assert [Hush(interrupted=False)] == list(director.change(SCRIPT))
    assert list(director.tick(9.0)) == []
