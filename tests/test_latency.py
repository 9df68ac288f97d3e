"""Turnaround: from the end of our speech to the start of theirs."""

from rtcpeer.latency import TurnMeter


def test_turnaround_runs_from_our_last_voiced_sample_to_their_first_audible_one():
    meter = TurnMeter()
    meter.spoke(until=1.00)
    meter.spoke(until=1.02)

    assert meter.heard(since=1.52) == 0.5


def test_an_agent_that_speaks_first_has_no_turnaround():
    assert TurnMeter().heard(since=0.4) is None


def test_one_end_of_speech_is_answered_once():
    meter = TurnMeter()
    meter.spoke(until=1.0)
    meter.heard(since=1.5)

    assert meter.heard(since=3.0) is None


def test_an_agent_that_speaks_over_us_does_not_answer():
    meter = TurnMeter()
    meter.spoke(until=1.0)
    assert meter.heard(since=0.9) is None

    meter.spoke(until=2.0)
    assert meter.heard(since=2.25) == 0.25
