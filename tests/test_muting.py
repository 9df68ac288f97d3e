"""How it is known that an answer which was cut short is over, in numbers of seconds."""

from __future__ import annotations

import pytest

from rtcpeer.events import Event, Interrupted, ResponseCompleted, TranscriptCompleted
from rtcpeer.muting import Muting
from rtcpeer.turns import QUIET, QUIET_UNMARKED

MARK = ResponseCompleted("text", "text")
CUT = 1.0
END = 60.0


def over_at(
    agent: list[tuple[float, float]],
    events: dict[float, Event] | None = None,
    us: list[tuple[float, float]] = [],  # noqa: B006 - read only
    *,
    in_order: bool = False,
    marked: float | None = None,
    marked_early: bool = False,
) -> float:
    """Cut an agent short at 1 s that speaks from and to those seconds; return when its answer counts as over."""
    muting = Muting()
    muting.begin(CUT, last_audible=CUT, marked=marked, marked_early=marked_early, spoke_at=None, in_order=in_order)
    pending = sorted((events or {}).items())
    for number in range(round(CUT * 50), round(END * 50)):
        t = number / 50
        while pending and pending[0][0] <= t:
            muting.on_event(pending.pop(0)[1], t)
        audible, we_speak = (any(begin <= t < end for begin, end in spans) for spans in (agent, us))
        if muting.over(t, audible=audible, we_speak=we_speak):
            return t
    return END


def test_a_pause_within_the_answer_is_not_its_end():
    talking = [(1.0, 2.0), (2.7, 4.0), (6.5, 7.0)]

    assert 7.0 + QUIET == pytest.approx(over_at(talking, {7.1: MARK}), abs=0.04)


def test_an_answer_that_nobody_marks_ends_after_a_longer_silence():
    assert 4.0 + QUIET_UNMARKED == pytest.approx(over_at([(1.0, 2.0), (3.0, 4.0)]), abs=0.04)


def test_a_mark_that_came_before_the_sound_does_not_end_it_at_the_next_pause():
    talking = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]

    assert 6.0 + QUIET_UNMARKED == pytest.approx(over_at(talking, marked=0.5), abs=0.04)
    assert 1.2 + QUIET_UNMARKED == pytest.approx(over_at([(1.0, 1.2)], marked=0.9, marked_early=True), abs=0.04)


def test_where_audio_and_mark_come_in_order_the_mark_is_the_end():
    assert 2.2 == pytest.approx(over_at([(1.0, 2.0)], {2.1: MARK}, in_order=True), abs=0.04)


def test_a_far_end_that_says_it_stopped_has_stopped():
    assert 1.7 == pytest.approx(over_at([(1.0, 1.5)], {1.4: Interrupted(0.4, "clear")}), abs=0.04)


def test_the_mark_of_the_next_answer_means_that_this_one_is_over():
    assert 3.2 == pytest.approx(over_at([(1.0, 3.0)], {2.0: MARK, 2.9: MARK}), abs=0.04)


def test_an_agent_that_stopped_while_we_spoke_answers_us_next():
    # It answers 0.4 s after we have finished, and had never marked the answer that was cut short.
    assert over_at([(1.0, 1.5), (2.9, 4.0)], us=[(1.1, 2.5)]) < 2.9


def test_an_agent_that_speaks_on_while_we_do_is_not_heard_in_its_next_pause():
    talking = [(1.0, 3.0), (3.5, 5.0), (5.5, 9.0)]

    assert 9.0 + QUIET == pytest.approx(over_at(talking, us=[(1.1, 2.5)]), abs=0.04)


def test_what_was_understood_of_us_after_the_cut_is_answered_next():
    heard = TranscriptCompleted("user", "stop", "stop")

    assert 3.2 == pytest.approx(over_at([(1.0, 3.0)], {2.8: heard}, us=[(1.2, 2.6)]), abs=0.04)


def test_what_was_understood_of_us_without_our_having_spoken_is_the_question_before():
    late = TranscriptCompleted("user", "How are you?", "How are you?")

    assert 3.0 + QUIET_UNMARKED == pytest.approx(over_at([(1.0, 3.0)], {1.5: late}), abs=0.04)
