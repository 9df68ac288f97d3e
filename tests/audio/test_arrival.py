from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.arrival import ArrivalDelay


def told(delays: list[float], *, expected: float = 0.04, offset: float = 1e6) -> ArrivalDelay:
    """What a packet every 20 ms, each with its delay, teaches."""
    arrival = ArrivalDelay(expected=expected)
    for at, sent in sorted((offset + n * 0.02 + delay, n * 0.02) for n, delay in enumerate(delays)):
        arrival.add(at, sent, 0.02)
    return arrival


def test_before_anything_is_known_it_is_what_was_expected():
    assert 0.04 == ArrivalDelay(expected=0.04).quantile


@pytest.mark.parametrize("delay", [0.0, 0.15])
def test_a_delay_that_is_always_the_same_is_none(delay):
    arrival = told([delay] * 500)

    assert arrival.quantile < 0.002
    assert arrival.jitter < 0.0001


def test_the_quantile_is_that_of_the_delays():
    delays = np.random.default_rng(1).uniform(0, 0.1, 2000)

    assert told(list(delays)).quantile == pytest.approx(0.0985, abs=0.006)


def test_a_single_late_packet_changes_little():
    assert told([0.0] * 300 + [0.2] + [0.0] * 10).quantile < 0.03


def test_late_packets_again_and_again_are_waited_for():
    assert told([0.08 if n % 8 == 0 else 0.0 for n in range(300)]).quantile == pytest.approx(0.08, abs=0.002)


def test_a_stall_that_lets_a_hundred_packets_loose_at_once_is_one_event():
    stalled = [2.0 - 0.02 * n for n in range(100)]

    assert told([0.0] * 300 + stalled + [0.0] * 20).quantile < 0.03


def test_a_longer_way_is_the_new_normal_after_some_seconds():
    assert told([0.0] * 500 + [0.1] * 600).quantile < 0.01


def test_no_delay_is_longer_than_the_longest_that_is_waited_for():
    assert told([0.0, 5.0] * 200).quantile <= 0.4


def test_jitter_is_that_of_rfc_3550():
    # Every transit differs from the one before by 10 ms: the mean deviation tends to just that.
    assert told([0.0, 0.01] * 200).jitter == pytest.approx(0.01, abs=1e-4)
