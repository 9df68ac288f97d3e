"""A network below a stream: late, narrow or stalled, but whole and in order. The clock is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer import ConfigurationError, NetworkConditions
from rtcpeer.netem import StreamEmulator


def network(text: str) -> StreamEmulator:
    return StreamEmulator(NetworkConditions.parse(text), 7)


def test_delay_is_added_to_every_message():
    emulator = network("delay=40ms")

    assert [0.04, 1.04] == [emulator.send(100, 0.0), emulator.send(100, 1.0)]


def test_rate_makes_messages_wait_for_each_other():
    emulator = network("rate=8kbit")  # a thousand bytes a second

    assert [0.5, 1.0, 2.5] == [emulator.send(500, 0.0), emulator.send(500, 0.0), emulator.send(500, 2.0)]


def test_stall_holds_what_is_sent_in_it_until_its_end():
    emulator = network("stall=1s+500ms")

    assert [0.0, 1.5, 1.5, 2.0] == [emulator.send(1, now) for now in (0.0, 1.1, 1.4, 2.0)]


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 0.1)), max_size=50))
def test_nothing_overtakes(messages: list[tuple[int, float]]):
    emulator = network("delay=50ms,jitter=50ms,rate=1mbit,stall=100ms+50ms/300ms")
    now, arrivals = 0.0, []
    for size, pause in messages:
        now += pause
        arrivals.append((now, emulator.send(size, now)))

    assert [arrival for _, arrival in arrivals] == sorted(arrival for _, arrival in arrivals)
    assert all(sent <= arrival for sent, arrival in arrivals)
    assert len(messages) == emulator.stats.packets_sent


def test_what_is_left_for_a_stream_is_delay_rate_and_stalls():
    everything = "loss=5%,burst=2,delay=20ms,jitter=5ms,ordered=1,rate=64kbit,queue=5,stall=1s+1s,duplicate=1%"

    left = NetworkConditions.parse(everything).for_stream()

    assert NetworkConditions.parse("delay=20ms,jitter=5ms,rate=64kbit,stall=1s+1s") == left
    assert left == StreamEmulator(left, 1).conditions


@pytest.mark.parametrize(
    "conditions", ["loss=5%", "loss=5%,burst=3", "delay=20ms,reorder=1%", "duplicate=1%", "outage=1s+1s"]
)
def test_what_a_stream_repairs_is_a_usage_error(conditions: str):
    with pytest.raises(ConfigurationError, match="loses, doubles and reorders nothing"):
        network(conditions)
