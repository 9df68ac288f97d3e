"""The arrival traces: that they are what their names say, and that the emulator still makes the same."""

from __future__ import annotations

import json
from itertools import groupby, pairwise

import pytest
from traces import CONDITIONS, FOLDER, PTIME, Trace, load_trace, make_trace


def delays(trace: Trace) -> list[float]:
    return [arrival.at - arrival.number * PTIME for arrival in trace.arrivals]


def overtakings(trace: Trace) -> int:
    return sum(later.number < earlier.number for earlier, later in pairwise(trace.arrivals))


def longest_gap(trace: Trace) -> int:
    numbers = sorted({-1, trace.packets} | {arrival.number for arrival in trace.arrivals})
    return max(later - earlier - 1 for earlier, later in pairwise(numbers))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_seed_makes_the_same_arrivals_in_every_release(name):
    assert json.loads((FOLDER / f"{name}.json").read_text("utf-8")) == make_trace(name)


def test_every_trace_is_known():
    assert set(CONDITIONS) == {path.stem for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", CONDITIONS)
def test_arrivals_are_in_order_of_time_and_after_they_were_sent(name):
    trace = load_trace(name)
    times = [arrival.at for arrival in trace.arrivals]

    assert sorted(times) == times
    assert min(delays(trace)) > -1e-6


def test_clean_has_every_packet_in_its_place():
    trace = load_trace("clean")

    assert [] == trace.lost
    assert {0.02} == {round(delay, 6) for delay in delays(trace)}


def test_loss_is_5_percent_alone_and_in_bursts():
    alone, bursts = load_trace("loss-5"), load_trace("bursts")

    assert 0.03 < len(alone.lost) / alone.packets < 0.07
    assert 0.03 < len(bursts.lost) / bursts.packets < 0.07

    def in_a_row(trace: Trace) -> float:
        runs = [len(list(group)) for _, group in groupby(enumerate(trace.lost), lambda pair: pair[1] - pair[0])]
        return sum(runs) / len(runs)

    assert in_a_row(alone) < 1.3
    assert in_a_row(bursts) > 2.5


def test_jitter_is_30_plus_or_minus_20_ms_and_reorders():
    trace = load_trace("jitter")

    assert [] == trace.lost
    assert (0.01, 0.05) == (round(min(delays(trace)), 3), round(max(delays(trace)), 3))
    assert overtakings(trace) > 50


def test_outage_is_two_seconds_of_nothing():
    trace = load_trace("outage")

    assert list(range(250, 350)) == trace.lost


def test_wifi_has_stalls_that_end_in_a_burst_of_packets_in_order():
    trace = load_trace("wifi")

    assert overtakings(trace) == 0
    assert max(delays(trace)) > 0.15
    assert sum(later.at == earlier.at for earlier, later in pairwise(trace.arrivals)) > 10
    assert longest_gap(trace) <= 2


def test_thin_line_fills_its_queue_and_then_drops():
    trace = load_trace("thin-line")

    assert max(delays(trace)) > 0.2
    assert 0.005 < len(trace.lost) / trace.packets < 0.1
    assert overtakings(trace) == 0
