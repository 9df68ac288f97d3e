"""Cutting the far end's speech into turns."""

import numpy as np
import pytest

from rtcpeer.events import (
    Interrupted,
    ResponseCompleted,
    TranscriptCompleted,
    TranscriptUpdated,
    TurnMeasured,
)
from rtcpeer.turns import LONGEST_TEXT, QUIET, QUIET_UNMARKED, TurnTracker

LOUD = np.full((960, 1), 3000, np.int16)
QUIET_FRAME = np.zeros((960, 1), np.int16)


def run(tracker, script, *, end=20.0):
    """Play ``script``: seconds → "speech", "silence" or an event; return the turns and when each ended."""
    turns, audible = [], False
    pending = sorted(script.items())
    for number in range(int(end / 0.02)):
        t = number * 0.02
        while pending and pending[0][0] <= t:
            what = pending.pop(0)[1]
            if what in ("speech", "silence"):
                audible = what == "speech"
            else:
                tracker.on_event(what, t)
        if turn := tracker.on_frame(LOUD if audible else QUIET_FRAME, audible, t):
            turns.append((round(t, 2), turn))
    return turns


def done(text="hello"):
    return ResponseCompleted(text, text)


@pytest.mark.parametrize("marked_at", [0.5, 1.9, 2.5], ids=["generated early", "while speaking", "after speaking"])
def test_a_turn_ends_when_it_is_marked_done_and_was_heard_whichever_comes_first(marked_at):
    [(ended, turn)] = run(TurnTracker(), {1.0: "speech", 2.0: "silence", marked_at: done()})

    assert ended == pytest.approx(max(2.0, marked_at) + QUIET, abs=0.05)
    assert turn.text == "hello"
    assert (np.abs(turn.audio) > 0).sum() == pytest.approx(48_000, abs=960)


def test_a_pause_for_breath_does_not_end_a_turn_marked_early():
    script = {1.0: "speech", 1.1: done(), 2.0: "silence", 2.0 + QUIET - 0.1: "speech", 4.0: "silence"}

    assert [pytest.approx(4.0 + QUIET, abs=0.05)] == [ended for ended, _ in run(TurnTracker(), script)]


def test_a_server_that_never_marks_turns_gets_a_longer_silence():
    [(ended, turn)] = run(TurnTracker(), {1.0: "speech", 2.0: "silence"})

    assert ended == pytest.approx(2.0 + QUIET_UNMARKED, abs=0.05)
    assert turn.text == ""


def test_a_turn_of_text_alone_is_a_turn():
    [(ended, turn)] = run(TurnTracker(), {1.0: done("only text")})

    assert ended == pytest.approx(1.0 + QUIET, abs=0.05)
    assert turn.text == "only text"


def test_what_the_agent_understood_and_how_fast_it_was_belong_to_its_next_turn_only():
    script = {
        0.5: TranscriptCompleted("user", "hi", "hi"),
        1.0: "speech",
        1.1: TurnMeasured(0.4),
        2.0: "silence",
        2.1: done("one"),
        6.0: "speech",
        7.0: "silence",
        7.1: done("two"),
    }
    turns = [turn for _, turn in run(TurnTracker(), script)]

    assert [(turn.text, turn.heard, turn.turnaround) for turn in turns] == [("one", "hi", 0.4), ("two", None, None)]


def test_the_first_consonant_before_the_detector_was_sure_is_in_the_audio():
    tracker = TurnTracker()
    tracker.on_frame(LOUD, False, 0.0)  # spoken, but not yet believed
    tracker.on_frame(LOUD, True, 0.02)
    turn = tracker.finish()

    assert turn is not None
    assert len(turn.audio) == 2 * 960


def test_a_turn_that_never_ends_is_kept_for_a_minute_only():
    tracker = TurnTracker()
    for number in range(70 * 50):
        tracker.on_frame(LOUD, True, number * 0.02)
    turn = tracker.finish()

    assert turn is not None
    assert len(turn.audio) == pytest.approx(60 * 48_000, abs=2 * 960)


def test_a_turn_that_is_marked_done_without_end_keeps_no_more_text_than_anybody_says():
    tracker = TurnTracker()
    for number in range(40_000):
        tracker.on_event(done("" if number % 2 else "a hundred characters" * 5), number / 1000)

    turn = tracker.finish()

    assert turn is not None
    assert turn.text.startswith("a hundred")
    assert 200_000 < len(turn.text) <= LONGEST_TEXT


def test_a_turn_that_was_cut_short_has_the_words_whose_sound_had_begun():
    tracker = TurnTracker()
    for received, text in ((0.0, "One."), (0.6, "One. Two."), (1.5, "One. Two. Three.")):
        tracker.on_event(TranscriptUpdated("assistant", text), 0.0, received=received)
    for number in range(50):
        tracker.on_frame(LOUD, True, 1.0 + number * 0.02)
    tracker.on_event(Interrupted(1.0, "local"), 2.0)
    tracker.on_event(done("One. Two. Three."), 2.1)
    turn = tracker.finish()

    assert turn is not None
    assert ("One. Two.", True, 1.0) == (turn.text, turn.interrupted, turn.played)
    assert (1.0, 2.0) == (turn.started, turn.ended)


def test_a_turn_that_was_heard_to_its_end_has_all_its_words_and_says_how_long_it_was():
    script = {0.9: TranscriptUpdated("assistant", "One."), 1.0: "speech", 2.0: "silence", 2.1: done("One. Two.")}
    [(_, turn)] = run(TurnTracker(), script)

    assert ("One. Two.", False) == (turn.text, turn.interrupted)
    assert (1.0, 2.0, 1.0) == pytest.approx((turn.started, turn.ended, turn.played), abs=0.03)


def test_silence_is_no_turn():
    assert TurnTracker().finish() is None
    assert run(TurnTracker(), {}) == []


def test_a_turn_may_be_kept_in_part_or_without_its_sound_and_was_played_all_the_same():
    for longest, kept in ((0.1, 5), (None, 0)):
        tracker = TurnTracker(longest)
        for number in range(50):
            assert tracker.on_frame(LOUD, True, number * 0.02) is None
        assert 1.0 == pytest.approx(tracker.played)
        turn = tracker.finish()

        assert turn is not None
        assert (kept * 960, 1) == turn.audio.shape
