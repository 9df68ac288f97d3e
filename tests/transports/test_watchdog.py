"""Whether the far end is still there: time is a number, and what comes is a list of numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConfigurationError
from rtcpeer.transports.watchdog import Watch, Watchdog


def watched(
    until: float,
    arrivals: Sequence[float],
    *,
    answers: Callable[[float], float | None] = lambda asked: None,
    **given: Any,
) -> list[tuple[float, str]]:
    """Run a watch from 0 to ``until``; what was asked, and the news, each with its time.

    Args:
        answers: When the answer to a question comes that was asked then.
    """
    coming = sorted(arrivals)
    watch = Watch(Watchdog(**given), 0.0)
    said: list[tuple[float, str]] = []
    now = heard = 0.0
    while now <= until:
        heard = max([heard, *(each for each in coming if each <= now)])
        verdict = watch.look(now, heard)
        if verdict.ask:
            said.append((round(now, 3), "ask"))
            if (answer := answers(now)) is not None:
                coming.append(answer)
        if verdict.news:
            said.append((round(now, 3), verdict.news))
        assert verdict.next > now or verdict.news == "lost"
        now = verdict.next
    return said


def test_whoever_speaks_is_never_asked() -> None:
    assert [] == watched(60.0, [0.02 * n for n in range(3100)])


def test_silence_is_asked_about_after_three_seconds_and_lost_before_nine() -> None:
    assert [
        (3.0, "ask"),
        (4.0, "ask"),
        (4.0, "degraded"),
        (5.0, "ask"),
        (6.0, "ask"),
        (7.0, "ask"),
        (8.0, "ask"),
        (8.8, "lost"),
    ] == watched(100.0, [])


def test_it_counts_from_what_was_heard_last() -> None:
    assert (15.3, "lost") == watched(100.0, [1.0, 3.9, 6.5])[-1]


def test_who_answers_but_says_nothing_is_alive_for_ever() -> None:
    said = watched(600.0, [], answers=lambda asked: asked + 0.05)
    assert {"ask"} == {what for _, what in said}
    # Once in the three seconds and what the answer took, not more often.
    assert 195 <= len(said) <= 200


def test_rtcp_every_five_seconds_with_its_chance_costs_one_question_at_most() -> None:
    # RFC 3550, 6.3.1: between half and one and a half times five seconds.
    said = watched(60.0, [0.0, 2.5, 10.0, 12.5, 20.0], answers=lambda asked: asked + 0.2)
    assert {"ask"} == {what for _, what in said}


def test_degraded_is_said_once_and_so_is_its_end() -> None:
    said = watched(40.0, [7.2, *(7.2 + 0.02 * n for n in range(1000))])
    assert [(4.0, "degraded"), (8.0, "recovered")] == [each for each in said if each[1] not in ("ask", "lost")][:2]
    assert 1 == sum(what == "recovered" for _, what in said)


def test_an_answer_that_takes_longer_than_the_next_question_counts_all_the_same() -> None:
    said = watched(60.0, [], answers=lambda asked: asked + 2.5)
    assert "lost" not in {what for _, what in said}


def test_the_time_in_which_nobody_looked_proves_nothing() -> None:
    """The loop stood still for a minute, or the machine slept: it is asked as if it had just fallen silent."""
    watch = Watch(Watchdog(), 0.0)
    verdict = watch.look(60.0, 0.0)
    assert (True, None) == (verdict.ask, verdict.news)
    # And again in the midst of asking: six questions it has to be.
    now, asked = 61.0, 1
    while True:
        verdict = watch.look(now, 0.0)
        if verdict.news == "lost":
            break
        asked += verdict.ask
        now = verdict.next + 20.0
    assert 6 == asked


def test_suspicion_asks_at_once_and_is_over_when_something_comes() -> None:
    watch = Watch(Watchdog(), 0.0)
    assert watch.look(1.0, 0.99, suspicious=True).ask
    # Every datagram that can't be sent says so again.
    assert not any(watch.look(1.0 + 0.02 * n, 0.99, suspicious=True).ask for n in range(1, 50))
    assert watch.look(2.0, 1.5).news is None
    verdict = watch.look(2.0, 1.5)
    assert (False, 4.5) == (verdict.ask, verdict.next)


def test_what_is_suspicious_and_silent_is_lost_three_seconds_sooner() -> None:
    watch = Watch(Watchdog(), 0.0)
    verdict = watch.look(0.0, 0.0, suspicious=True)
    while verdict.news != "lost":
        now = verdict.next
        verdict = watch.look(now, 0.0)
    assert pytest.approx(5.8) == now


def test_times_of_ones_own() -> None:
    assert (0.3, "lost") == watched(10.0, [], ask_after=0.1, lost_after=0.3)[-1]
    assert (60.0, "lost") == watched(100.0, [], ask_after=30.0, lost_after=60.0)[-1]


@pytest.mark.parametrize(
    ("ask_after", "lost_after"), [(0, 1), (-1, 1), (3, 3), (5, 3), (1, float("inf")), (1, float("nan"))]
)
def test_times_that_make_no_sense_are_refused(ask_after: float, lost_after: float) -> None:
    with pytest.raises(ConfigurationError, match="give up some time after"):
        Watchdog(ask_after=ask_after, lost_after=lost_after)


@given(
    gaps=st.lists(st.floats(0.001, 12.0), max_size=20),
    lag=st.lists(st.floats(0.0, 30.0), min_size=60, max_size=60),
)
def test_nobody_is_lost_who_was_heard_since_the_first_question(gaps: list[float], lag: list[float]) -> None:
    """However late we look, and whenever things come."""
    arrivals, at = [0.0], 0.0
    for gap in gaps:
        at += gap
        arrivals.append(at)
    watch, now, degraded = Watch(Watchdog(), 0.0), 0.0, False
    first_question = None
    for late in lag:
        heard = max(each for each in arrivals if each <= now)
        verdict = watch.look(now, heard)
        if first_question is not None and heard > first_question:
            first_question = None
            assert verdict.news != "lost"
        if verdict.ask and first_question is None:
            first_question = now
        if verdict.news == "degraded":
            assert not degraded
        assert verdict.news != "recovered" or degraded
        degraded = (degraded or verdict.news == "degraded") and verdict.news != "recovered"
        if verdict.news == "lost":
            assert first_question is not None
            assert now - first_question >= 5.8 - 1e-9
            return
        now = verdict.next + late
